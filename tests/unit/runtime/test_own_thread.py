"""Work in a thread of its own, and those who wait for it or do not any more."""

import asyncio
import threading

import pytest

from tune_operator.runtime.own_thread import in_own_thread


async def test_the_waiter_gets_the_result() -> None:
    assert await in_own_thread(lambda: threading.current_thread().name, "kopf") == "kopf"


async def test_the_waiter_gets_the_error() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_own_thread(fail, "kopf")


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
async def test_the_end_of_work_that_nobody_waits_for_disturbs_nobody(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, threads = threading.Event(), list[threading.Thread]()
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)

    def work() -> None:
        threads.append(threading.current_thread())
        go.wait(10)
        if fails:
            raise ZeroDivisionError

    waiting = asyncio.ensure_future(in_own_thread(work, "kopf"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    go.set()
    await asyncio.to_thread(threads[0].join, 10)
    await asyncio.sleep(0)
    assert errors == []
