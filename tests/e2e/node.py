"""The node with the real kubelet: cut off from its cluster, or closed to new Pods, and back."""

import subprocess
import sys
from pathlib import Path

from dev.demo.shell import Shell
from dev.demo.target import SYSTEM_NAMESPACE
from tests.clusters import Cluster

TOOL = Path(__file__).parents[2] / "dev" / "cluster"


class Node:
    """The only node that Pods of these tests run on, the operator's included."""

    def __init__(self, cluster: Cluster, shell: Shell) -> None:
        self.name = cluster.name
        self._shell = shell

    def cut_off(self) -> None:
        """Stop its kubelet; its containers run on."""
        self._tool("stop-node")

    def bring_back(self) -> None:
        """Start the kubelet; wait until the node and the operator on it serve again."""
        self._tool("start-node")
        ready = ("--for=condition=Ready", "--timeout=60s")
        self._shell.run("kubectl", "wait", f"node/{self.name}", *ready)
        system = ("kubectl", "--namespace", SYSTEM_NAMESPACE)
        self._shell.run(*system, "wait", "pods", "--all", *ready)

    def cordon(self) -> None:
        """As the first half of a drain does."""
        self._shell.run("kubectl", "cordon", self.name)

    def uncordon(self) -> None:
        """Take it back."""
        self._shell.run("kubectl", "uncordon", self.name)

    def _tool(self, command: str) -> None:
        subprocess.run([sys.executable, str(TOOL), command, "--name", self.name], check=True)
