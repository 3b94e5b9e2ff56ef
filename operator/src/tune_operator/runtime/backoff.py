"""How long to wait after the n-th failure in a row: one formula for every retry of the operator."""

import random
from collections.abc import Callable
from dataclasses import dataclass

MAX_DOUBLINGS = 60  # beyond it every delay is the maximum; 2.0 ** 1100 would overflow


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with jitter.

    initial: seconds after the first failure. maximum: upper bound in seconds. jitter: the share
    of a delay (0 to 1) that is random, so that many who failed together do not come back together.
    """

    initial: float
    maximum: float
    jitter: float = 0.0

    def delay(self, failures: int, uniform: Callable[[], float] = random.random) -> float:
        """Seconds to wait after `failures` (>= 1) failures in a row; never above `maximum`."""
        doublings = min(max(failures, 1) - 1, MAX_DOUBLINGS)
        full = min(self.maximum, self.initial * 2.0**doublings)
        return full * (1.0 - self.jitter * uniform())
