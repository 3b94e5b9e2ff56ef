"""Blocking work in a thread of its own, which may outlive whoever waits for it."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_own_thread(work: Callable[[], T], name: str) -> T:
    """What `work` returns or raises. Cancelled, the wait ends and the thread goes on.

    The thread is a daemon: work that does not end must not keep the process.
    """
    ended: concurrent.futures.Future[T] = concurrent.futures.Future()
    # From now on it cannot be cancelled: its end would find no place to be told.
    ended.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for us
            ended.set_exception(error)
        else:
            ended.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(ended)
