"""One real cluster and one `helm install` for all e2e cases, as the README's demo makes them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.demo import install
from dev.demo.screen import Screen
from dev.demo.shell import Shell
from dev.demo.target import Images
from tests import clusters
from tests.clusters import Cluster
from tests.e2e.stage import Stage


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster with a real kubelet."""
    return clusters.find("real")


@pytest.fixture(scope="session")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The operator installed by Helm, and the namespace of the digits example."""
    log = tmp_path_factory.mktemp("e2e") / "commands.log"
    path = f"{cluster.bin}{os.pathsep}{os.environ['PATH']}"
    shell = Shell(log, {**os.environ, "KUBECONFIG": cluster.kubeconfig, "PATH": path})
    screen = Screen()
    install.chart(
        shell,
        screen,
        Images("dev.local/tune-operator:dev", "dev.local/digits:dev", "dev.local/minio:dev"),
    )
    keys = install.example(shell, screen)
    stage = Stage(shell, keys, run_folder(cluster))
    yield stage
    stage.clear()


def run_folder(cluster: Cluster) -> Path:
    """Where the cluster's sockets are."""
    return Path(cluster.kubeconfig).parent / "run"
