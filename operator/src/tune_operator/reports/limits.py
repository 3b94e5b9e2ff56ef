"""How much one Pod, and all clients together, may ask of the report server."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportLimits:
    """Rates in requests per second, times in seconds.

    The SDK sends one request at a time and batches what comes faster than ten per second, so the
    limits of a Pod are met only by a trainer that misbehaves.
    """

    pod_rate: float = 20.0
    pod_burst: int = 40
    pod_in_flight: int = 4
    in_flight: int = 256
    """Bodies are at most 256 KiB, so all of them together stay below 64 MiB."""
    connections: int = 8192
    authentications: int = 32
    """Unknown tokens asked about at once; each is a TokenReview of the API server."""
    handshake_seconds: float = 10.0
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    answer_seconds: float = 30.0
    idle_seconds: float = 75.0
    linger_seconds: float = 1.0
    """For the rest of a body nobody reads, so that the client sees its answer before the end."""
    stop_seconds: float = 5.0


class RateLimiter:
    """A token bucket per key. Keys that have not been seen for long are forgotten."""

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        keys: int = 20_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._keys = keys
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Takes one token: 0.0 when there was one, else the seconds until there will be one."""
        now = self._monotonic()
        level, since = self._buckets.pop(key, (float(self._burst), now))
        level = min(self._burst, level + (now - since) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._buckets[key] = (level - 1 if wait == 0 else level, now)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return wait


def retry_after(seconds: float) -> str:
    """The value of a Retry-After header: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))
