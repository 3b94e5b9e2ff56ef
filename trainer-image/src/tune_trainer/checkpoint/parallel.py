"""Requests side by side, in bounded memory: a few threads, each with one part in a buffer.

The buffers are kept from one checkpoint to the next: filling fresh memory costs several times as
much as filling what is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from tune_trainer.retry import Retry

P = ParamSpec("P")
T = TypeVar("T")

PARALLEL = 4
"""Parts in flight; each holds one part in memory."""


class Cancelled(Exception):
    """Another request failed, or the attempt was replaced: this one is not tried (again)."""


class Buffers:
    """Lends buffers and keeps what comes back; as many as are lent out at once."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, size: int) -> Iterator[memoryview]:
        """A buffer of this size, whatever is in it."""
        with self._lock:
            buffer = self._free.pop() if self._free else bytearray()
        if len(buffer) < size:
            buffer = bytearray(size)
        try:
            yield memoryview(buffer)[:size]
        finally:
            with self._lock:
                self._free.append(buffer)


class Workers:
    """Runs the requests of one checkpoint. The first error ends all the others."""

    def __init__(self, pool: ThreadPoolExecutor, retry: Retry, stopped: Callable[[], bool]) -> None:
        self._pool = pool
        self._retry = retry
        self._stopped = stopped
        self._ended = threading.Event()

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread do this; at most PARALLEL run at once."""
        return self._pool.submit(job, *args, **kwargs)

    def results(self, jobs: Iterable[Future[T]]) -> list[T]:
        """What they return, in order; raises the first error that happens in any of them."""
        found = list(jobs)
        ended, _ = wait(found, return_when=FIRST_EXCEPTION)
        for job in ended:
            job.result()
        return [job.result() for job in found]

    def ask(self, action: Callable[[], T]) -> T:
        """One request, retried; raises Cancelled, Unusable, and what the action raises."""

        def unless_over() -> T:
            if self._ended.is_set() or self._stopped():
                raise Cancelled
            return action()

        return self._retry.run(unless_over)

    def end(self) -> None:
        """Try nothing any more, and wait for what is under way."""
        self._ended.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def workers(
    name: str, retry: Retry, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Workers]:
    """Threads for one checkpoint; they are gone afterwards, also after an error."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix=name) as pool:
        found = Workers(pool, retry, stopped)
        try:
            yield found
        except BaseException:
            found.end()
            raise
