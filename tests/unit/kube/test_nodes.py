"""What is known of nodes: live, by a watch, or not at all because nobody may ask."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.unit.kube import api_server
from tests.unit.kube.api_server import ApiServer, answer, bookmark, fail, stream
from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.kube import errors
from tune_operator.kube.nodes import DENIED_SECONDS, Nodes
from tune_operator.lifecycle.node_view import NodeUnread, NodeView

FORBIDDEN = fail(403, "Forbidden", 'nodes "a" is forbidden: User "tune" cannot get resource')


def node(name: str, version: int, *, beat: int = 0, ready: str = "True", **spec: Any) -> Any:
    """A raw node; `beat` is the minute of its last heartbeat."""
    condition = {
        "type": "Ready",
        "status": ready,
        "lastHeartbeatTime": f"2026-01-01T00:{beat:02}:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)},
        "spec": spec,
        "status": {"conditions": [condition]},
    }


def node_list(version: int, *nodes: Any) -> api_server.Answer:
    return answer({"metadata": {"resourceVersion": str(version)}, "items": list(nodes)})


class Bench:
    """Nodes with what they told, and a way to wait for it."""

    def __init__(self, server: ApiServer, clock: FakeClock) -> None:
        self.clock = clock
        self.told: list[set[str]] = []
        self.nodes = Nodes(server.client(clock=clock), self.tell, clock=clock)

    def tell(self, names: Collection[str]) -> None:
        self.told.append(set(names))

    async def until(self, reached: Callable[[], bool]) -> None:
        """Let time pass until `reached`: network I/O is real, waiting is not."""
        async with asyncio.timeout(10):
            while not reached():
                await self.clock.advance(0.5)


@pytest.fixture
def bench(server: ApiServer, clock: FakeClock) -> Bench:
    return Bench(server, clock)


@asynccontextmanager
async def following(bench: Bench) -> AsyncIterator[None]:
    running = asyncio.ensure_future(bench.nodes.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_live_read_says_how_the_node_is(server: ApiServer, bench: Bench) -> None:
    server.then(answer(node("a", 7, ready="Unknown", unschedulable=True)))
    found = await bench.nodes.look("a")
    assert isinstance(found, NodeView)
    assert (found.name, found.ready, found.cordoned) == ("a", "Unknown", True)
    assert server.seen[0].path == "/api/v1/nodes/a"


async def test_node_that_is_gone_is_none(server: ApiServer, bench: Bench) -> None:
    server.then(fail(404, "NotFound"))
    assert await bench.nodes.look("a") is None


async def test_server_that_does_not_answer_is_no_knowledge(server: ApiServer, bench: Bench) -> None:
    server.then(fail(429))
    with pytest.raises(errors.TooManyRequests):
        await bench.nodes.look("a")


async def test_refusal_is_remembered_for_every_node(server: ApiServer, bench: Bench) -> None:
    server.then(FORBIDDEN)
    looks = [await bench.nodes.look(name) for name in ("a", "b", "a")]
    assert looks == [NodeUnread.NOT_PERMITTED] * 3
    assert len(server.seen) == 1


async def test_after_a_while_the_right_may_have_been_granted(
    server: ApiServer, bench: Bench, clock: FakeClock
) -> None:
    server.then(FORBIDDEN, answer(node("a", 7)))
    await bench.nodes.look("a")
    await clock.advance(DENIED_SECONDS)
    assert isinstance(await bench.nodes.look("a"), NodeView)


async def test_without_a_watch_nothing_is_known(server: ApiServer, bench: Bench) -> None:
    assert bench.nodes.known("a") is None
    assert server.seen == []


async def test_first_list_is_told_at_once(server: ApiServer, bench: Bench) -> None:
    server.then(node_list(10, node("a", 5), node("b", 6), node("c", 7)))
    async with following(bench):
        await bench.until(lambda: bool(bench.told))
    assert bench.told == [{"a", "b", "c"}]
    known = bench.nodes.known("b")
    assert known is not None
    assert (known.name, known.ready) == ("b", "True")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(node("a", 12, unschedulable=True), id="cordoned"),
        pytest.param(node("a", 12, ready="Unknown"), id="not heard of"),
    ],
)
async def test_change_is_told_and_heartbeats_are_not(
    server: ApiServer, bench: Bench, changed: Any
) -> None:
    heartbeats = [("MODIFIED", node("b", 11 + 2 * beat, beat=beat)) for beat in (1, 2, 3)]
    server.then(
        node_list(10, node("a", 5), node("b", 6)),
        stream(*heartbeats, ("MODIFIED", changed), bookmark(30), then=api_server.hang),
    )
    async with following(bench):
        await bench.until(lambda: len(bench.told) > 1)
    assert bench.told == [{"a", "b"}, {"a"}]


async def test_node_that_goes_is_told_and_forgotten(server: ApiServer, bench: Bench) -> None:
    server.then(
        node_list(10, node("a", 5)), stream(("DELETED", node("a", 11)), then=api_server.hang)
    )
    async with following(bench):
        await bench.until(lambda: len(bench.told) > 1)
    assert bench.told[1] == {"a"}
    assert bench.nodes.known("a") is None


async def test_watch_that_is_forbidden_asks_seldom_and_never_ends(
    server: ApiServer, bench: Bench, clock: FakeClock
) -> None:
    server.then(*[FORBIDDEN] * 100)
    async with following(bench):
        start = clock.monotonic()
        await bench.until(lambda: clock.monotonic() - start > 3600)
        # 1, 2, 4, ... 300 s and then every 150 to 300 s: without that 360 and more in an hour.
        assert 10 < len(server.seen) < 40
        server.script.clear()
        server.then(node_list(10, node("a", 5)))
        await bench.until(lambda: bool(bench.told))
