"""A queue of keys to look at again, with the semantics of client-go's workqueue.

An event only says "look again": a key that waits is not queued twice, a key is never handled by
two workers at once, and an add while it is handled queues it once more afterwards, so nothing is
missed.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

from tune_operator.runtime.backoff import Backoff
from tune_operator.runtime.clock import Clock

K = TypeVar("K", bound=Hashable)

RETRY = Backoff(initial=0.5, maximum=60.0, jitter=0.2)


class QueueClosed(Exception):
    """The queue was closed and everything that was due has been handed out: the worker ends."""


class WorkQueue(Generic[K]):
    """Keys that are due (in order of arrival), delayed, or being handled. Not thread-safe."""

    def __init__(self, clock: Clock, backoff: Backoff = RETRY) -> None:
        self._clock = clock
        self._backoff = backoff
        self._due: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # key that must be handled -> since when
        self._processing: dict[K, float] = {}  # key in a worker's hands -> since when it was due
        self._delayed: dict[K, float] = {}  # key -> when it becomes due
        self._alarms: list[
            tuple[float, int, K]
        ] = []  # heap; entries that _delayed disowns are stale
        self._order = count()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """How many keys are due and in no worker's hands."""
        return len(self._due)

    def add(self, key: K, after: float = 0.0) -> None:
        """Look at `key` in `after` seconds; the earliest delay wins. Ignored once closed."""
        if self._closed:
            return
        if after <= 0:
            self._make_due(key)
            return
        at = self._clock.monotonic() + after
        if key not in self._delayed or at < self._delayed[key]:
            self._delayed[key] = at
            heapq.heappush(self._alarms, (at, next(self._order), key))
            self._changed.set()

    async def get(self) -> K:
        """Wait for the next key; the caller must call `done` for it. Raises QueueClosed."""
        while True:
            self._ring()
            if self._due:
                key = self._due.popleft()
                self._processing[key] = self._dirty.pop(key)
                return key
            if self._closed:
                raise QueueClosed
            await self._wait()

    def done(self, key: K) -> None:
        """The worker has finished with `key`; what was added meanwhile is due now."""
        self._processing.pop(key, None)
        if key in self._dirty:
            self._due.append(key)
            self._changed.set()

    def retry(self, key: K) -> None:
        """Look at `key` again after a delay that doubles with each retry since `forget`."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add(key, after=self._backoff.delay(failures))

    def forget(self, key: K) -> None:
        """`key` was handled well: its next retry starts at the initial delay."""
        self._failures.pop(key, None)

    def oldest_age(self) -> float:
        """Seconds for which the oldest key has been due, whether it waits or is being handled."""
        since = min((*self._dirty.values(), *self._processing.values()), default=None)
        return 0.0 if since is None else self._clock.monotonic() - since

    def close(self) -> None:
        """Take no more keys and drop the delayed ones; what is due is still handed out."""
        self._closed = True
        self._delayed.clear()
        self._alarms.clear()
        self._changed.set()

    def _make_due(self, key: K) -> None:
        if key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        if key not in self._processing:  # else `done` queues it
            self._due.append(key)
            self._changed.set()

    def _ring(self) -> None:
        now = self._clock.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            at, _, key = heapq.heappop(self._alarms)
            if self._delayed.get(key) == at:
                del self._delayed[key]
                self._make_due(key)

    async def _wait(self) -> None:
        """Until a change or the next alarm; no turn of the loop lies between look and clear."""
        self._changed.clear()  # whoever waits already was woken by the `set` and looks for himself
        if not self._alarms:
            await self._changed.wait()
            return
        signal = asyncio.ensure_future(self._changed.wait())
        alarm = asyncio.ensure_future(
            self._clock.sleep(self._alarms[0][0] - self._clock.monotonic())
        )
        try:
            await asyncio.wait((signal, alarm), return_when=asyncio.FIRST_COMPLETED)
        finally:
            signal.cancel()
            alarm.cancel()
            await asyncio.gather(signal, alarm, return_exceptions=True)
