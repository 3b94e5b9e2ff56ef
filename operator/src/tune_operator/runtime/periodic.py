"""A task that comes back: the sweep, and whatever else must happen now and then for ever."""

import logging
import random
from collections.abc import Awaitable, Callable

from tune_operator.runtime.clock import Clock

logger = logging.getLogger(__name__)


async def periodically(
    name: str,
    work: Callable[[], Awaitable[object]],
    seconds: float,
    clock: Clock,
    *,
    jitter: float = 0.2,
    uniform: Callable[[], float] = random.random,
) -> None:
    """Call `work` at once and then for ever, with `seconds` between an end and the next start.

    A random share of up to `jitter` is taken off each pause, so that nothing in a cluster comes to
    beat in time. A failure is logged and the next turn comes all the same: what must not fail has
    no place here. Meant for `Supervisor.start`, which cancels it at the stop.
    """
    while True:
        try:
            await work()
        except Exception:
            logger.exception("%s failed; again in %.0f s", name, seconds)
        await clock.sleep(seconds * (1.0 - jitter * uniform()))
