"""One real cluster and one `helm install` for all e2e cases, as the README's demo makes them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.demo import install
from dev.demo.screen import Screen
from dev.demo.shell import Shell
from dev.demo.target import Images
from tests import clusters
from tests.clusters import Cluster
from tests.e2e.node import Node
from tests.e2e.stage import Stage
from tests.e2e.workload import UNRULY_SOURCE, slow


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
    stage.source(UNRULY_SOURCE, install.EXAMPLE / "digits.py", Path(__file__).parent / "unruly.py")
    yield stage
    stage.clear()


@pytest.fixture(scope="session")
def undisturbed(stage: Stage) -> dict[str, Any]:
    """Trial 00000 after 16 iterations in which nothing happened."""
    stage.apply("calm", **slow(16, 0))
    stage.condition("calm", "Complete")
    row = stage.row("calm")
    assert (row["attempt"], row["iteration"]) == (1, 16)
    return row


@pytest.fixture
def node(cluster: Cluster, stage: Stage) -> Iterator[Node]:
    """The node; well again afterwards, whatever was done to it."""
    node = Node(cluster, stage.shell)
    yield node
    try:
        node.uncordon()
    finally:
        node.bring_back()


def run_folder(cluster: Cluster) -> Path:
    """Where the cluster's sockets are."""
    return Path(cluster.kubeconfig).parent / "run"
