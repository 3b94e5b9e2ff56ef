"""Fixtures of the integration layer: a real API server with kwok nodes, and a real MinIO."""

import contextlib
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from minio import Minio

from tests import clusters
from tests.clusters import Bucket, Cluster
from tests.integration.fleet import Fleet, fleet_of
from tests.integration.lab import Lab
from tests.integration.operator_process import OperatorProcess
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, NotFound
from tune_operator.kube.resources import EXPERIMENTS, NAMESPACES

CRD = Path(__file__).parents[2] / "crds" / "tuneoperator.io_tuneexperiments.yaml"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The kwok cluster, with our CRD installed."""
    found = clusters.find("kwok")
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = found.kubeconfig
    kubectl = found.bin / "kubectl"
    for command in (
        ["apply", "--server-side", "--force-conflicts", "-f", str(CRD)],
        ["wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRD)],
    ):
        subprocess.run([kubectl, *command], check=True, capture_output=True)
    yield found
    if before is None:
        del os.environ["KUBECONFIG"]
    else:
        os.environ["KUBECONFIG"] = before


@pytest.fixture(scope="session")
def minio(cluster: Cluster) -> Bucket:
    """A bucket shared by the session; tests use prefixes of their own."""
    host = cluster.minio.removeprefix("http://")
    client = Minio(host, access_key=cluster.access_key, secret_key=cluster.secret_key, secure=False)
    bucket = "tune-tests"
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    return Bucket(cluster.minio, cluster.access_key, cluster.secret_key, bucket)


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    """A connected client with all rights."""
    client = await Kube.connect()
    yield client
    await client.close()


@pytest.fixture
async def namespace(kube: Kube) -> AsyncIterator[str]:
    """A fresh namespace, deleted afterwards without waiting for its end."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    made = await kube.create(NAMESPACES, None, {"metadata": {"name": name}})
    yield name
    with contextlib.suppress(NotFound, Conflict):  # a test may have deleted it
        await kube.delete(NAMESPACES, None, name, uid=made["metadata"]["uid"])


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator, one process for the tests of a file; whoever kills it starts it again.

    Files that do without must be alone with their objects.
    """
    process = OperatorProcess(tmp_path_factory.mktemp("operator") / "operator.log")
    process.start()
    yield process
    process.stop()
    assert "Traceback" not in process.log.read_text(), process.log.read_text()


@pytest.fixture
async def lab(
    kube: Kube, namespace: str, minio: Bucket, operator: OperatorProcess
) -> AsyncIterator[Lab]:
    """A namespace with the store's Secret, watched by a ready operator."""
    await operator.ready()
    bench = Lab(kube, namespace, minio, operator)
    await bench.secret()
    yield bench
    items, _ = await kube.list(EXPERIMENTS, namespace)
    for item in items:
        await bench.delete(item["metadata"]["name"])


@pytest.fixture
async def fleet(lab: Lab, cluster: Cluster) -> AsyncIterator[Fleet]:
    """Nodes of the test's own; its experiments are gone before they are."""
    async with fleet_of(lab.kube, cluster, lab.namespace) as own:
        yield own
        await lab.clear()
