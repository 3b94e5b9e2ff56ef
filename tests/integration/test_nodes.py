"""Nodes as a real API server and its scheduler know them; the nodes that change are the tests' own.

No kubelet stands behind those, and a taint keeps other Pods away.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from tests.integration.link import account_ready
from tests.integration.test_kube_client import token
from tests.polling import eventually
from tests.unit.lifecycle.builders import experiment
from tune_operator.kube import credentials
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.nodes import Nodes
from tune_operator.kube.resources import NODES, PODS
from tune_operator.lifecycle import pod
from tune_operator.lifecycle.node_view import NodeUnread, NodeView

SESSION = pod.Session("https://tune-operator.tune-system.svc:8443", "no certificate")

Build = Callable[[int, Collection[str]], dict[str, Any]]

_numbers = count()


class OwnNode:
    """A node that does what the test says."""

    def __init__(self, kube: Kube, name: str) -> None:
        self.kube = kube
        self.name = name

    async def make(self) -> None:
        taint = {"key": "tests.tuneoperator.io/mine", "effect": "NoSchedule"}
        body = {"metadata": {"name": self.name}, "spec": {"taints": [taint]}}
        await self.kube.create(NODES, None, body)
        await self.beat("2026-01-01T00:00:00Z")

    async def beat(self, time: str) -> None:
        """The kubelet's report: nothing new but the time. Controllers write at the same moment."""
        meta = {"name": self.name}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": time,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        await self.kube.replace_status(NODES, {"metadata": meta, "status": {"conditions": [ready]}})

    async def cordon(self) -> None:
        patch = [{"op": "add", "path": "/spec/unschedulable", "value": True}]
        await self.kube.json_patch(NODES, None, self.name, patch)

    async def delete(self) -> None:
        live = await self.kube.get(NODES, None, self.name)
        await self.kube.delete(NODES, None, self.name, uid=live["metadata"]["uid"])


@pytest.fixture
async def node(kube: Kube) -> AsyncIterator[OwnNode]:
    own = OwnNode(kube, f"test-node-{os.getpid()}-{next(_numbers)}")
    try:
        await own.make()
        yield own
    finally:
        with contextlib.suppress(NotFound):
            await own.delete()


class Told:
    """What `Nodes` told of one node, and a way to wait for it."""

    def __init__(self, kube: Kube, name: str) -> None:
        self.name = name
        self.times = 0
        self.nodes = Nodes(kube, self.tell)

    def tell(self, names: Collection[str]) -> None:
        self.times += self.name in names

    def known(self) -> NodeView | None:
        return self.nodes.known(self.name)

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        async def look() -> bool:
            return reached()

        async def explain() -> str:
            return f"known: {self.known()}"

        await eventually(look, what, 20, explain)


@asynccontextmanager
async def followed(kube: Kube, name: str) -> AsyncIterator[Told]:
    told = Told(kube, name)
    running = asyncio.ensure_future(told.nodes.run())
    try:
        await told.until(lambda: told.known() is not None, "the node is known")
        yield told
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_live_read_follows_a_node_to_its_end(kube: Kube, node: OwnNode) -> None:
    nodes = Nodes(kube, lambda _: None)
    before = await nodes.look(node.name)
    await node.cordon()
    after = await nodes.look(node.name)
    assert isinstance(before, NodeView)
    assert isinstance(after, NodeView)
    assert (before.ready, before.cordoned, after.cordoned) == ("True", False, True)
    await node.delete()
    assert await nodes.look(node.name) is None


async def test_heartbeats_wake_nobody_and_a_cordon_does(kube: Kube, node: OwnNode) -> None:
    async with followed(kube, node.name) as told:
        first = told.known()
        before = told.times
        for minute in (1, 2, 3):
            await node.beat(f"2026-01-01T00:0{minute}:00Z")
        live = await kube.get(NODES, None, node.name)
        version = live["metadata"]["resourceVersion"]
        await told.until(
            lambda: int(getattr(told.known(), "resource_version", 0)) >= int(version),
            "the last heartbeat was heard",
        )
        assert first is not None
        assert told.times == before
        await node.cordon()
        await told.until(lambda: told.times > before, "the cordon is told")
        known = told.known()
        assert known is not None
        assert known.cordoned


async def test_node_that_is_deleted_is_told(kube: Kube, node: OwnNode) -> None:
    async with followed(kube, node.name) as told:
        before = told.times
        await node.delete()
        await told.until(lambda: told.times > before, "the end is told")
        assert told.known() is None


async def test_account_without_the_right_is_told_so_and_goes_on(
    kube: Kube, namespace: str, node: OwnNode
) -> None:
    bearer = await token(kube, namespace, "confined")

    async def keep(configuration: Configuration) -> None:
        """Nothing to renew."""

    configuration = Configuration()
    await credentials.load(configuration)
    configuration.cert_file = configuration.key_file = None
    configuration.api_key["BearerToken"] = f"Bearer {bearer}"
    confined = Kube(configuration, renew=keep)
    nodes = Nodes(confined, lambda _: None)
    running = asyncio.ensure_future(nodes.run())
    try:
        assert await nodes.look(node.name) is NodeUnread.NOT_PERMITTED
        assert not running.done()
        assert nodes.known(node.name) is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await confined.close()


@pytest.fixture
def attempts(namespace: str) -> Build:
    """Builds Pods of attempts; without an owner that does not exist, which would be collected."""

    def build(attempt: int, avoid: Collection[str]) -> dict[str, Any]:
        of = replace(experiment(), namespace=namespace)
        body = pod.build(of, "00000", attempt, {}, SESSION, tuple(avoid))
        del body["metadata"]["ownerReferences"], body["metadata"]["finalizers"]
        return body

    return build


async def placed(kube: Kube, body: dict[str, Any]) -> str:
    """The node that the scheduler chose for a Pod."""
    meta = body["metadata"]

    async def look() -> str | None:
        live = await kube.get(PODS, meta["namespace"], meta["name"])
        found: str | None = live["spec"].get("nodeName")
        return found

    async def explain() -> str:
        return str((await kube.get(PODS, meta["namespace"], meta["name"])).get("status"))

    return await eventually(look, "the Pod has a node", 20, explain)


async def test_attempt_keeps_away_from_nodes_that_failed_it(
    kube: Kube, namespace: str, attempts: Build
) -> None:
    await account_ready(kube, namespace)
    items, _ = await kube.list(NODES, None)
    names = sorted(item["metadata"]["name"] for item in items)
    fleet = [name for name in names if name.startswith("kwok-node-")]
    assert len(fleet) > 2
    avoid, wanted = fleet[:2], set(names) - set(fleet[:2])
    for attempt in range(1, 5):
        body = attempts(attempt, avoid)
        await kube.create(PODS, namespace, body)

        assert await placed(kube, body) in wanted


async def test_attempt_runs_on_a_node_it_avoids_if_there_is_no_other(
    kube: Kube, namespace: str, attempts: Build
) -> None:
    await account_ready(kube, namespace)
    body = attempts(1, ["kwok-node-0"])
    body["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "kwok-node-0"}
    await kube.create(PODS, namespace, body)

    assert await placed(kube, body) == "kwok-node-0"


async def test_admission_adds_no_toleration_of_its_own(
    kube: Kube, namespace: str, attempts: Build
) -> None:
    await account_ready(kube, namespace)
    body = attempts(1, ())
    made = await kube.create(PODS, namespace, body, dry_run=True)
    assert made["spec"]["tolerations"] == body["spec"]["tolerations"]
