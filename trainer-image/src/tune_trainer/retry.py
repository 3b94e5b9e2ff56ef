"""Retries of store requests: exponential waits with a deadline, then a typed end."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tune_trainer.errors import Unusable
from tune_trainer.store.base import Misconfigured, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)


def delays(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further try: doubling, up to ``longest``, jittered by half."""
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(longest, delay * 2)


@dataclass(frozen=True)
class Retry:
    """How one request is repeated while the store does not serve it.

    ``seconds`` counts from the first try, as does ``denied`` while something is set up wrongly, our
    keys for one. ``wait`` and ``clock`` are the real ones except in tests.
    """

    seconds: float
    denied: float = math.inf
    first: float = 0.2
    longest: float = 10.0
    wait: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def run(self, action: Callable[[], T]) -> T:
        """The action's value; raises Unusable when the deadline has passed."""
        start = self.clock()
        for delay in delays(self.first, self.longest):
            try:
                return action()
            except Unavailable as error:
                bound = self.seconds
                if isinstance(error, Misconfigured):
                    bound = min(bound, self.denied)
                if self.clock() + delay > start + bound:
                    raise Unusable(f"gave up after {bound:.0f} s: {error}") from error
                log.warning("%s; trying again in %.1f s", error, delay)
            self.wait(delay)
        raise AssertionError("delays() never ends")
