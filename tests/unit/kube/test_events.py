"""What is dropped, what is repeated: an Event is never worth waiting for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.unit.kube.api_server import ApiServer, answer, break_off, fail
from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.kube import events
from tune_operator.kube.events import EventRecorder

EXPERIMENT = {
    "apiVersion": "tuneoperator.io/v1alpha1",
    "kind": "TuneExperiment",
    "metadata": {"namespace": "tune", "name": "digits", "uid": "u", "resourceVersion": "9"},
}


@pytest.fixture
def recorder(server: ApiServer, clock: FakeClock) -> EventRecorder:
    return EventRecorder(server.client(), clock=clock)


@pytest.fixture
async def wait(
    recorder: EventRecorder, clock: FakeClock
) -> AsyncIterator[Callable[[Callable[[], bool]], Any]]:
    """Runs the recorder; waits until something holds, letting time pass."""
    running = asyncio.ensure_future(recorder.run())

    async def until(reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not reached():
                await clock.advance(0.1)

    yield until
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


Wait = Callable[[Callable[[], bool]], Any]


def written(server: ApiServer) -> list[str]:
    return [seen.body["message"] for seen in server.seen]


async def test_event_has_what_kubectl_describe_reads(
    server: ApiServer, recorder: EventRecorder, wait: Wait
) -> None:
    server.then(answer({}))
    recorder.emit(EXPERIMENT, "Warning", "TrialPreempted", "m" * 2000)
    await wait(lambda: len(server.seen) >= 1)
    assert server.seen[0].path == "/api/v1/namespaces/tune/events"
    body = server.seen[0].body
    assert body["kind"] == "Event"
    assert body["metadata"]["name"].startswith("digits.")
    assert body["involvedObject"] == {
        "apiVersion": "tuneoperator.io/v1alpha1",
        "kind": "TuneExperiment",
        "namespace": "tune",
        "name": "digits",
        "uid": "u",
        "resourceVersion": "9",
    }
    assert (body["type"], body["reason"], body["count"]) == ("Warning", "TrialPreempted", 1)
    assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-01-01T00:00:00Z"
    assert body["source"] == {"component": "tune-operator"}
    assert len(body["message"]) == 1024


async def test_identical_event_is_told_once_in_five_minutes(
    server: ApiServer, recorder: EventRecorder, clock: FakeClock, wait: Wait
) -> None:
    server.then(*[answer({})] * 4)
    for message in ("a", "a", "b"):
        recorder.emit(EXPERIMENT, "Normal", "Reason", message)
    await wait(lambda: len(server.seen) >= 2)
    await clock.advance(300.0)
    recorder.emit(EXPERIMENT, "Normal", "Reason", "a")
    await wait(lambda: len(server.seen) >= 3)
    assert written(server) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        pytest.param((fail(503), answer({})), 2, id="repeated after a failure of the server"),
        pytest.param((fail(429), answer({})), 2, id="repeated when the server was busy"),
        pytest.param((fail(503), fail(409, "AlreadyExists")), 2, id="the lost answer was a yes"),
        pytest.param((fail(403),), 1, id="not repeated in a namespace that goes away"),
        pytest.param((fail(500),) * 3, 3, id="given up after three attempts"),
    ],
)
async def test_event_that_meets_errors(
    server: ApiServer, recorder: EventRecorder, wait: Wait, answers: Any, requests: int
) -> None:
    server.then(*answers, answer({}))
    recorder.emit(EXPERIMENT, "Normal", "Reason", "first")
    recorder.emit(EXPERIMENT, "Normal", "Reason", "second")
    await wait(lambda: "second" in written(server))
    assert written(server) == ["first"] * requests + ["second"]
    assert len({seen.body["metadata"]["name"] for seen in server.seen}) == 2


async def test_full_queue_drops_and_does_not_wait(
    server: ApiServer,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(events, "QUEUE_LIMIT", 2)
    recorder = EventRecorder(server.client(), clock=clock)
    for number in range(3):
        recorder.emit(EXPERIMENT, "Normal", "Reason", str(number))
    assert "too many events; dropped Reason: 2" in caplog.text


async def test_close_writes_what_is_queued(server: ApiServer, recorder: EventRecorder) -> None:
    server.then(answer({}), answer({}))
    for message in ("a", "b"):
        recorder.emit(EXPERIMENT, "Normal", "Reason", message)
    recorder.close()
    async with asyncio.timeout(5):
        await recorder.run()
    assert written(server) == ["a", "b"]


async def test_close_wakes_an_idle_recorder(recorder: EventRecorder, clock: FakeClock) -> None:
    running = asyncio.ensure_future(recorder.run())
    await clock.settle()
    recorder.close()
    async with asyncio.timeout(5):
        await running


async def test_broken_connection_is_no_crash(
    server: ApiServer, recorder: EventRecorder, wait: Wait
) -> None:
    server.then(break_off, answer({}))
    recorder.emit(EXPERIMENT, "Normal", "Reason", "a")
    await wait(lambda: len(server.seen) >= 2)
    assert written(server) == ["a", "a"]
