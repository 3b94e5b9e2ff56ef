import asyncio
import logging

import pytest

from tune_operator.runtime import supervisor as module
from tune_operator.runtime.supervisor import Foreseen, Supervisor, TaskEnded


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError("broken")


async def end() -> None:
    return


@pytest.mark.parametrize(
    ("work", "cause"),
    [
        pytest.param(fail, ValueError, id="a failure is the cause"),
        pytest.param(end, type(None), id="a clean end is an end all the same"),
    ],
)
async def test_first_end_stops_all_and_is_raised(work: object, cause: type[object]) -> None:
    cancelled = asyncio.Event()

    async def other() -> None:
        try:
            await for_ever()
        finally:
            cancelled.set()

    supervisor = Supervisor()
    supervisor.start("other", other())
    supervisor.start("culprit", work())  # type: ignore[operator]
    with pytest.raises(TaskEnded, match="task culprit ended") as raised:
        await supervisor.run(asyncio.Event())
    assert type(raised.value.__cause__) is cause
    assert cancelled.is_set()


async def test_stop_runs_backwards_and_waits_for_each() -> None:
    log: list[str] = []

    def start(name: str) -> None:
        stop = asyncio.Event()

        async def work() -> None:
            await stop.wait()
            log.append(f"{name} ends")

        def ask() -> None:
            log.append(f"{name} asked")
            stop.set()

        supervisor.start(name, work(), stop=ask)

    supervisor = Supervisor()
    start("informer")
    start("workers")
    stopping = asyncio.Event()
    stopping.set()
    await supervisor.run(stopping)
    assert log == ["workers asked", "workers ends", "informer asked", "informer ends"]


async def test_task_that_ignores_the_request_is_cancelled_after_its_bound() -> None:
    cancelled = asyncio.Event()

    async def deaf() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    supervisor = Supervisor()
    supervisor.start("deaf", deaf(), stop=lambda: None, bound=0.01)
    await supervisor.stop()
    assert cancelled.is_set()


async def test_task_that_ignores_even_cancellation_does_not_hold_the_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CANCEL_SECONDS", 0.01)
    release = asyncio.Event()
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    supervisor = Supervisor()
    supervisor.start("stubborn", stubborn())
    await started.wait()
    await supervisor.stop()
    assert "task stubborn does not end" in caplog.text
    release.set()


async def test_failure_while_stopping_is_logged_and_does_not_keep_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    others = asyncio.Event()

    async def bad_end() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("cannot flush")

    async def other() -> None:
        try:
            await for_ever()
        finally:
            others.set()

    supervisor = Supervisor()
    supervisor.start("first", other())
    supervisor.start("second", bad_end())
    await asyncio.sleep(0)
    stopping = asyncio.Event()
    stopping.set()
    with caplog.at_level(logging.ERROR):
        await supervisor.run(stopping)
    assert "task second failed: cannot flush" in caplog.text
    assert others.is_set()


@pytest.mark.parametrize(
    ("error", "traced"), [(RuntimeError("a defect"), True), (Foreseen("as it should"), False)]
)
async def test_only_a_defect_leaves_a_traceback(
    caplog: pytest.LogCaptureFixture, error: Exception, traced: bool
) -> None:
    async def fails() -> None:
        raise error

    supervisor = Supervisor()
    supervisor.start("one", fails())
    with caplog.at_level(logging.ERROR), pytest.raises(TaskEnded):
        await supervisor.run(asyncio.Event())
    assert f"task one failed: {error}" in caplog.text
    assert ("Traceback" in caplog.text) is traced
