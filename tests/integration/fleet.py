"""Nodes of a test's own, where no other Pod lands: drained, tainted, lost and deleted as people do.

Their names begin with the test's namespace.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dev.cluster import kwok
from tests.clusters import Cluster
from tests.integration.test_cluster_nodes import tool
from tests.polling import eventually
from tune_operator.api.constants import LABEL_EXPERIMENT
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.resources import NODES

MINE = "tests.tuneoperator.io/mine"
HOSTNAME = "kubernetes.io/hostname"


class Fleet:
    """Makes nodes and Pod templates that run there; `close` brings back and removes them all."""

    def __init__(self, kube: Kube, cluster: Cluster, prefix: str) -> None:
        self.kube = kube
        self.cluster = cluster
        self.prefix = prefix
        self._lost: set[str] = set()
        self._made: set[str] = set()

    async def make(self, *names: str) -> list[str]:
        """Ready nodes; their full names."""
        full = [f"{self.prefix}-{name}" for name in names]
        for name in full:
            taint = {"key": MINE, "value": self.prefix, "effect": "NoSchedule"}
            self._made.add(name)
            await self.kube.create(NODES, None, {**kwok.node(name), "spec": {"taints": [taint]}})
        for name in full:
            await self.until_ready(name, "True")
        return full

    def template(
        self, *nodes: str, first: str = "", apart: str = "", **container: Any
    ) -> dict[str, Any]:
        """A trainer's Pod with 1 s of grace on any of ``nodes``, at best on ``first``.

        ``apart`` names an experiment of which no two trials share a node.
        """
        affinity: dict[str, Any] = {"nodeAffinity": _on(nodes, first)}
        if apart:
            alike = {"matchLabels": {LABEL_EXPERIMENT: apart}}
            term = {"topologyKey": HOSTNAME, "labelSelector": alike}
            affinity["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        mine = {"key": MINE, "value": self.prefix, "effect": "NoSchedule"}
        return template(affinity=affinity, tolerations=[mine], container=container)

    async def kubectl(self, *arguments: str) -> None:
        """As a person would."""

        def run() -> None:
            command = [str(self.cluster.bin / "kubectl"), *arguments]
            subprocess.run(command, check=True, capture_output=True)

        await asyncio.to_thread(run)

    async def lose(self, node: str) -> None:
        """Put it out of reach: nothing is heard of it, its Pods run on."""
        self._lost.add(node)
        await asyncio.to_thread(tool, "stop-node", self.cluster, "--node", node)

    async def find(self, node: str) -> None:
        """Bring it back into reach."""
        await asyncio.to_thread(tool, "start-node", self.cluster, "--node", node)
        self._lost.discard(node)

    async def until_ready(self, node: str, status: str) -> None:
        """Wait until condition Ready of the node is True, False or Unknown."""

        async def look() -> bool:
            found = (await self.kube.get(NODES, None, node)).get("status", {})
            conditions = {c["type"]: c["status"] for c in found.get("conditions", [])}
            return conditions.get("Ready") == status and "allocatable" in found

        async def explain() -> str:
            return str(await self.kube.get(NODES, None, node))

        await eventually(look, f"node {node} has Ready={status}", 30, explain)

    async def provide(self, node: str, resource: str, amount: int) -> None:
        """Let the node have some of a countable resource of a test's own."""
        have = f'{{"{resource}": "{amount}"}}'
        patch = f'{{"status": {{"capacity": {have}, "allocatable": {have}}}}}'
        await self.kubectl(
            "patch", "node", node, "--subresource=status", "--type=merge", f"--patch={patch}"
        )

    async def delete(self, node: str) -> None:
        """kubectl delete node."""
        live = await self.kube.get(NODES, None, node)
        await self.kube.delete(NODES, None, node, uid=live["metadata"]["uid"])

    async def find_all(self) -> None:
        """Bring back all that are lost."""
        for node in sorted(self._lost):
            with contextlib.suppress(subprocess.CalledProcessError):
                await self.find(node)

    async def close(self) -> None:
        """Leave nothing behind."""
        await self.find_all()
        for node in sorted(self._made):
            with contextlib.suppress(NotFound):
                await self.delete(node)


@asynccontextmanager
async def fleet_of(kube: Kube, cluster: Cluster, prefix: str) -> AsyncIterator[Fleet]:
    """A fleet that is gone afterwards."""
    fleet = Fleet(kube, cluster, prefix)
    try:
        yield fleet
    finally:
        await fleet.close()


def template(
    *,
    container: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A trainer's Pod template with 1 s of grace."""
    trainer = {"name": "trainer", "image": "dev.local/played:1", **(container or {})}
    return {
        "metadata": {"annotations": annotations or {}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [trainer], **spec},
    }


def _on(nodes: tuple[str, ...], first: str) -> dict[str, Any]:
    required = {"nodeSelectorTerms": [{"matchExpressions": [_named(nodes)]}]}
    affinity: dict[str, Any] = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    if first:
        term = {"weight": 100, "preference": {"matchExpressions": [_named((first,))]}}
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [term]
    return affinity


def _named(nodes: tuple[str, ...]) -> dict[str, Any]:
    return {"key": HOSTNAME, "operator": "In", "values": [*nodes]}
