"""How long iterations take, for the decision whether one more fits into the grace."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

REMEMBERED = 20
"""Iterations looked back on."""


class Pace:
    """Written by the training thread, read by the one that watches the grace. Seconds."""

    def __init__(
        self, save_seconds: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``save_seconds`` is the time of the fastest save so far."""
        self._save_seconds = save_seconds
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=REMEMBERED)
        self._began: float | None = None

    def begin(self) -> None:
        """An iteration starts."""
        self._began = self._clock()

    def end(self) -> float:
        """The iteration is over; how long it took."""
        took = 0.0 if self._began is None else self._clock() - self._began
        self._began = None
        self._recent.append(took)
        return took

    def longest(self) -> float:
        """Seconds of the longest of the recent iterations, 0 before the first."""
        return max(self._recent, default=0.0)

    def shortest_remaining(self) -> float:
        """Seconds until the running iteration can be over and saved, going by the fastest recent.

        Optimistic on purpose: only an iteration that certainly does not fit is given up early.
        """
        began = self._began
        if began is None or not self._recent:
            return 0.0
        running = self._clock() - began
        return max(0.0, min(tuple(self._recent)) - running) + self._save_seconds()
