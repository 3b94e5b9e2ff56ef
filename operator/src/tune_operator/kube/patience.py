"""Waiting out an API server that is away when the process starts to lead.

To end instead would put the Pod into the back-off of its restarts, and the operator would stay away
for minutes after the API server has come back.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tune_operator.kube.errors import TooManyRequests, Transient
from tune_operator.runtime.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")
PAUSE_SECONDS = 1.0


async def patiently(act: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """The answer of `act`, which is repeated: a part of it may have been done before.

    Raises what will not pass by itself, such as Forbidden.
    """
    told = ""
    while True:
        pause = PAUSE_SECONDS
        try:
            return await act()
        except TooManyRequests as error:
            problem, pause = str(error), error.retry_after
        except Transient as error:
            problem = str(error)
        if problem != told:
            logger.warning("waiting: %s", problem)
            told = problem
        await clock.sleep(pause)
