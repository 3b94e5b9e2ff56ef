"""The informer against an API server that fails in the middle; time moves by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.kube import api_server
from tests.unit.kube.api_server import (
    ApiServer,
    answer,
    bookmark,
    break_off,
    fail,
    pod,
    pod_list,
    stream,
)
from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.kube.informer import Informer
from tune_operator.kube.resources import PODS


@dataclass(frozen=True)
class View:
    namespace: str
    name: str
    uid: str
    resource_version: str
    experiment_uid: str
    phase: str


def project(raw: Mapping[str, Any]) -> View:
    meta = raw["metadata"]
    return View(
        meta["namespace"],
        meta["name"],
        meta["uid"],
        meta["resourceVersion"],
        meta["labels"]["tuneoperator.io/experiment-uid"],
        raw["status"]["phase"],
    )


class Watcher:
    """An informer with what it told, and a way to wait for it."""

    def __init__(self, server: ApiServer, clock: FakeClock, *namespaces: str) -> None:
        self.server = server
        self.clock = clock
        self.told: list[tuple[str, str]] = []
        self.kube = server.client(clock=clock)
        self.informer = Informer(
            self.kube, PODS, namespaces, "a=b", project, self.tell, clock=clock
        )

    def tell(self, view: View) -> None:
        self.told.append((view.name, view.phase))

    async def until(self, reached: Callable[[], bool]) -> None:
        """Let time pass until `reached`: network I/O is real, waiting is not."""
        async with asyncio.timeout(10):
            while not reached():
                await self.clock.advance(0.5)

    def phases(self) -> dict[str, str]:
        return {view.name: view.phase for view in self.informer.of("tune", "e1")}


@asynccontextmanager
async def follow(server: ApiServer, clock: FakeClock, *namespaces: str) -> AsyncIterator[Watcher]:
    watcher = Watcher(server, clock, *namespaces)
    running = asyncio.ensure_future(watcher.informer.run())
    try:
        yield watcher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


QUIET = stream(bookmark(100), then=api_server.hang)


async def test_list_then_watch(server: ApiServer, clock: FakeClock) -> None:
    server.then(
        answer(pod_list(10, pod("a", 5))),
        stream(("ADDED", pod("b", 11)), ("DELETED", pod("a", 12)), then=api_server.hang),
    )
    async with follow(server, clock) as watcher:
        await watcher.until(lambda: len(watcher.told) >= 3)
        assert watcher.told == [("a", "Running"), ("b", "Running"), ("a", "Running")]
        assert watcher.phases() == {"b": "Running"}
        assert server.seen[1].query["resourceVersion"] == "10"
        assert server.seen[1].path == "/api/v1/pods"


async def test_watch_goes_on_where_it_ended(server: ApiServer, clock: FakeClock) -> None:
    server.then(
        answer(pod_list(10)),
        stream(("ADDED", pod("a", 11))),  # a clean end under a burst of writes
        stream(("ADDED", pod("b", 12)), bookmark(20), then=break_off),
        stream(("MODIFIED", pod("a", 21, phase="Failed")), then=api_server.hang),
    )
    async with follow(server, clock) as watcher:
        await watcher.until(lambda: watcher.phases() == {"a": "Failed", "b": "Running"})
        assert [seen.query.get("resourceVersion") for seen in server.seen] == [
            None,
            "10",
            "11",
            "20",
        ]


@pytest.mark.parametrize(
    "too_old",
    [
        pytest.param(fail(410, "Expired"), id="as an answer"),
        pytest.param(stream(("ERROR", api_server.status(410, "Expired"))), id="as an event"),
    ],
)
async def test_too_old_lists_again_and_finds_what_was_deleted(
    server: ApiServer, clock: FakeClock, too_old: api_server.Answer
) -> None:
    server.then(
        answer(pod_list(10, pod("a", 5), pod("b", 6))),
        too_old,
        answer(pod_list(30, pod("b", 6))),
        QUIET,
    )
    async with follow(server, clock) as watcher:
        await watcher.until(lambda: watcher.phases() == {"b": "Running"})
        assert watcher.told == [("a", "Running"), ("b", "Running"), ("a", "Running")]
        await watcher.until(lambda: len(server.seen) >= 4)
        assert server.seen[3].query["resourceVersion"] == "30"


async def test_outage_is_survived_without_a_new_list(server: ApiServer, clock: FakeClock) -> None:
    server.then(answer(pod_list(10, pod("a", 5))), *[fail(503)] * 8, break_off, QUIET)
    async with follow(server, clock) as watcher:
        await watcher.until(lambda: len(server.seen) >= 11)
        assert {seen.query.get("resourceVersion") for seen in server.seen[1:]} == {"10"}
        assert watcher.told == [("a", "Running")]


async def test_busy_server_is_left_alone_as_long_as_it_asks(
    server: ApiServer, clock: FakeClock
) -> None:
    server.then(fail(429, Retry_After="60"), answer(pod_list(10)), QUIET)
    async with follow(server, clock) as watcher:
        await watcher.until(lambda: len(server.seen) >= 2)
        assert clock.monotonic() >= 60.0


async def test_synced_when_every_namespace_was_listed(server: ApiServer, clock: FakeClock) -> None:
    listed_late = asyncio.Event()

    async def late(request: Any) -> Any:
        await listed_late.wait()
        return await answer(pod_list(10))(request)

    server.then(answer(pod_list(10)), late, QUIET, QUIET)
    async with follow(server, clock, "one", "two") as watcher:
        await watcher.until(lambda: len(server.seen) >= 3)
        assert not watcher.informer.synced.is_set()
        listed_late.set()
        await watcher.until(watcher.informer.synced.is_set)
        assert {seen.path for seen in server.seen} == {
            "/api/v1/namespaces/one/pods",
            "/api/v1/namespaces/two/pods",
        }


async def test_own_write_is_known_at_once(server: ApiServer, clock: FakeClock) -> None:
    server.then(answer(pod_list(10)), QUIET)
    async with follow(server, clock, "tune") as watcher:
        await watcher.until(watcher.informer.synced.is_set)
        watcher.informer.observe(pod("a", 500, phase="Pending"))
        assert watcher.phases() == {"a": "Pending"}
        assert watcher.told == [("a", "Pending")]
        elsewhere = pod("x", 501)
        elsewhere["metadata"]["namespace"] = "elsewhere"
        watcher.informer.observe(elsewhere)
        assert watcher.informer.get("elsewhere", "x") is None


async def test_a_label_with_the_uid_of_anothers_experiment_leads_nowhere(
    server: ApiServer, clock: FakeClock
) -> None:
    theirs = pod("x", 9)
    theirs["metadata"]["namespace"] = "elsewhere"
    server.then(answer(pod_list(10, pod("a", 5), theirs)), QUIET)
    async with follow(server, clock) as watcher:
        await watcher.until(watcher.informer.synced.is_set)
        assert watcher.phases() == {"a": "Running"}


async def test_odd_object_does_not_stop_the_rest(
    server: ApiServer, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    odd = pod("odd", 6)
    del odd["metadata"]["labels"]
    server.then(
        answer(pod_list(10, odd, pod("a", 5))),
        stream(("ADDED", odd), ("ADDED", pod("b", 12)), then=api_server.hang),
    )
    async with follow(server, clock) as watcher:
        await watcher.until(lambda: set(watcher.phases()) == {"a", "b"})
    assert "cannot read Pod tune/odd" in caplog.text


async def test_age_is_the_time_since_the_last_word(server: ApiServer, clock: FakeClock) -> None:
    server.then(answer(pod_list(10)), QUIET)
    async with follow(server, clock) as watcher:
        await watcher.until(lambda: len(server.seen) >= 2)
        await watcher.until(lambda: watcher.informer.age_seconds() > 5.0)
        before = watcher.informer.age_seconds()
        await clock.advance(100.0)
        assert watcher.informer.age_seconds() == before + 100.0
