"""Dry runs of Pods: what the API server would say of a Pod, and how long nobody asks it again.

An admission webhook that is down answers for nobody: every Pod is an error then, for an hour if
need be. What runs meanwhile must be heard and settled, so that no answer is a case of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tune_operator.experiment.run import Key, Run
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import (
    AlreadyExists,
    Forbidden,
    Invalid,
    KubeError,
    TooManyRequests,
)
from tune_operator.kube.resources import PODS
from tune_operator.runtime.backoff import Backoff
from tune_operator.runtime.clock import Clock
from tune_operator.runtime.workqueue import WorkQueue

logger = logging.getLogger(__name__)

AGAIN = Backoff(initial=1.0, maximum=30.0, jitter=0.2)
"""Pauses after questions in a row that nobody answered; each may have hung for seconds."""


class Unanswered(Exception):
    """Nobody said whether such a Pod could be created; ``run.ask_after`` is when to ask again."""


async def would_create(kube: Kube, run: Run, body: Mapping[str, Any], clock: Clock) -> None:
    """Return if the Pod would be taken.

    Raises Forbidden and Invalid as the API server means them, else Unanswered; within the pause
    after that nobody is asked.
    """
    if clock.monotonic() < run.ask_after:
        raise Unanswered
    try:
        await kube.create(PODS, run.key[0], body, dry_run=True)
    except AlreadyExists:
        pass  # the name is compared last: until then nothing spoke against it
    except (Forbidden, Invalid):
        run.unanswered = 0
        raise
    except KubeError as error:
        run.unanswered += 1
        pause = AGAIN.delay(run.unanswered)
        if isinstance(error, TooManyRequests):
            pause = error.retry_after
        run.ask_after = clock.monotonic() + pause  # it may have hung: from now on
        logger.warning("nobody says whether Pods can be created: %s; again later", error)
        raise Unanswered from error
    run.unanswered = 0


def ask_again(run: Run, queue: WorkQueue[Key], clock: Clock) -> None:
    """Nobody answered a dry run: its next one is due after a pause."""
    queue.add(run.key, after=run.ask_after - clock.monotonic())
