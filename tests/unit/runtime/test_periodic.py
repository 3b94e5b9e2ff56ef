import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.runtime.periodic import periodically
from tune_operator.runtime.supervisor import Supervisor

PERIOD = 100.0


class Turns:
    """When `work` was called, by the clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.at: list[float] = []

    async def work(self) -> None:
        self.at.append(self.clock.monotonic())


@asynccontextmanager
async def running(
    clock: FakeClock, work: Callable[[], Awaitable[None]], uniform: Callable[[], float]
) -> AsyncIterator[None]:
    task = asyncio.ensure_future(periodically("sweep", work, PERIOD, clock, uniform=uniform))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.0, [0, 100, 200, 300], id="the whole period"),
        pytest.param(1.0, [0, 80, 160, 240, 320], id="at most a fifth less"),
    ],
)
async def test_it_starts_at_once_and_comes_back(share: float, expected: list[float]) -> None:
    clock = FakeClock()
    turns = Turns(clock)
    async with running(clock, turns.work, lambda: share):
        await clock.advance(330)
    assert turns.at == expected


async def test_turns_never_overlap() -> None:
    clock = FakeClock()
    starts: list[float] = []

    async def slow() -> None:
        starts.append(clock.monotonic())
        await clock.sleep(250)

    async with running(clock, slow, lambda: 0.0):
        await clock.advance(800)
    assert starts == [0, 350, 700]


async def test_failure_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    turns = Turns(clock)

    async def fails() -> None:
        await turns.work()
        raise ValueError("no answer")

    async with running(clock, fails, lambda: 0.0):
        await clock.advance(150)
    assert turns.at == [0, 100]
    assert caplog.text.count("sweep failed; again in 100 s") == 2
    assert "no answer" in caplog.text


async def test_the_supervisor_ends_it() -> None:
    clock = FakeClock()
    turns = Turns(clock)
    supervisor = Supervisor()
    supervisor.start("sweep", periodically("sweep", turns.work, PERIOD, clock))
    await clock.settle()
    await supervisor.stop()
    await clock.advance(1000)
    assert turns.at == [0]
