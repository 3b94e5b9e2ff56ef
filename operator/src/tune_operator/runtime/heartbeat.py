"""Shows that the event loop still turns: a blocked one answers nobody and must be restarted."""

from tune_operator.runtime.clock import Clock

BEAT_SECONDS = 1.0


class Heartbeat:
    """Beats every second while the loop turns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.monotonic()

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            self._last = self._clock.monotonic()
            await self._clock.sleep(BEAT_SECONDS)

    def age_seconds(self) -> float:
        """Seconds since the last beat; well above one means that something blocks the loop."""
        return self._clock.monotonic() - self._last
