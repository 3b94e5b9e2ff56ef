"""The fake nodes under the trials: taken away, silenced, tainted, and given back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dev.cluster import kwok
from tests.chaos.trainer import persist
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import AlreadyExists, NotFound
from tune_operator.kube.resources import PODS, Resource

TOOL = Path(__file__).parents[2] / "dev" / "cluster"
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
TAINT = {"key": "tune.dev/chaos", "value": "taint", "effect": "NoExecute"}


class Nodes:
    """Those of one cluster; a fault has a node for itself."""

    def __init__(self, kube: Kube, cluster: str, names: list[str]) -> None:
        self._kube = kube
        self._cluster = cluster
        self._free = sorted(names)

    def take(self, draw: int, keep: int, busy: Collection[str]) -> str | None:
        """A busy node for one fault; None if there is none, or if too few would be left."""
        found = [name for name in self._free if name in busy]
        if not found or len(self._free) <= keep:
            return None
        name = found[draw % len(found)]
        self._free.remove(name)
        return name

    def give_back(self, name: str) -> None:
        """The fault is over."""
        self._free = sorted([*self._free, name])

    async def cordon(self, name: str, *, on: bool) -> None:
        """No new Pods from now on, or again."""
        await self._patch(name, [{"op": "add", "path": "/spec/unschedulable", "value": on}])

    async def taint(self, name: str, *, on: bool) -> None:
        """NoExecute: whoever is there has to go."""
        node = await self._kube.get(NODES, None, name)
        taints = [t for t in node["spec"].get("taints", []) if t["key"] != TAINT["key"]]
        value = [*taints, TAINT] if on else taints
        await self._patch(name, [{"op": "add", "path": "/spec/taints", "value": value}])

    async def stop(self, name: str) -> None:
        """Nobody speaks for it any more."""
        await self._tool("stop-node", name)

    async def start(self, name: str) -> None:
        """Back again."""
        await self._tool("start-node", name)

    async def delete(self, name: str) -> None:
        """The object, as a cloud controller does."""
        node = await self._kube.get(NODES, None, name)
        await self._kube.delete(NODES, None, name, uid=node["metadata"]["uid"])

    async def add(self, name: str) -> None:
        """A new node of this name."""

        async def create() -> None:
            try:
                await self._kube.create(NODES, None, kwok.node(name))
            except AlreadyExists:
                return

        await persist(create)

    async def pods(self, name: str, namespace: str) -> list[Mapping[str, Any]]:
        """What runs there, not from a cache."""
        items, _ = await self._kube.list(PODS, namespace)
        return [pod for pod in items if pod["spec"].get("nodeName") == name]

    async def _patch(self, name: str, ops: list[dict[str, Any]]) -> None:
        try:
            await persist(lambda: self._kube.json_patch(NODES, None, name, ops))
        except NotFound:
            return  # deleted meanwhile; a new one is as nodes are made

    async def _tool(self, command: str, name: str) -> None:
        options = ["--name", self._cluster, "--node", name]
        call = [sys.executable, str(TOOL), command, *options]
        await asyncio.to_thread(subprocess.run, call, check=True, capture_output=True)
