"""What became of the actions: problems that people must see, and when to try again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tune_operator.experiment.run import Run, Taken
from tune_operator.kube.errors import Forbidden, Invalid
from tune_operator.kube.outcomes import (
    AlreadyForeign,
    AlreadyOurs,
    Created,
    Failed,
    Outcome,
    QuotaExceeded,
    Throttled,
)
from tune_operator.lifecycle.actions import CreatePod, EmitEvent
from tune_operator.lifecycle.conditions import Finding
from tune_operator.runtime.backoff import Backoff

logger = logging.getLogger(__name__)

RETRY = Backoff(initial=1.0, maximum=60.0)
"""Pause after actions that failed for a reason that may pass, by how often in a row they did."""

QUOTA_SECONDS = 15.0
"""Pause before a Pod is created again that a quota or a policy refused."""

CONFLICT_SECONDS = 30.0
"""Pause before looking whether a foreign object still has our Pod's name."""


def note(run: Run, outcomes: Sequence[Outcome], now: float) -> float | None:
    """Remember problems on the run. Returns the seconds after which to look again, if any.

    ``now`` is monotonic seconds. A create that succeeded clears what was noted of creates.
    """
    waits: list[float] = []
    before = (run.name_conflict, run.quota)
    if tried := [outcome for outcome in outcomes if not isinstance(outcome.action, EmitEvent)]:
        run.failing = run.failing + 1 if any(isinstance(one, Failed) for one in tried) else 0
        run.tried = run.tried or any(isinstance(one.action, CreatePod) for one in tried)
    for outcome in outcomes:
        match outcome:
            case Created(action=action) | AlreadyOurs(action=action):
                run.taken.pop((action.trial, action.attempt), None)
                run.quota = ""
            case AlreadyForeign(action=action, pod=pod):
                # It holds up this attempt and no other.
                name = pod["metadata"]["name"]
                run.taken[action.trial, action.attempt] = Taken(
                    f"Pod {name} exists and is not ours: delete or rename it; it is never touched",
                    now + CONFLICT_SECONDS,
                )
                waits.append(CONFLICT_SECONDS)  # nothing tells us when a foreign Pod goes
            case QuotaExceeded(message=message):
                run.quota = f"a Pod was refused: {message}"
                run.create_after = now + QUOTA_SECONDS
                waits.append(QUOTA_SECONDS)  # nor when others leave us room
            case Throttled(action=action, retry_after=seconds):
                if isinstance(action, CreatePod):  # else every report would try one again
                    run.create_after = now + seconds
                waits.append(seconds)
            case Failed(action=CreatePod(), error=Forbidden() | Invalid() as error):
                # It was fine when it was asked last: let the dry run say at once what is not now.
                logger.warning("a Pod was refused: %s", error)
                run.acceptance, run.asked = Finding(), float("-inf")
                run.create_after = now + QUOTA_SECONDS
                waits.append(0.0)
            case Failed(action=action, error=error):
                logger.warning("%s failed: %s", type(action).__name__, error)
                # A policy that says no says it again: as slow as a quota.
                again = RETRY.delay(run.failing)
                waits.append(max(QUOTA_SECONDS, again) if isinstance(error, Forbidden) else again)
            case _:
                pass
    if (run.name_conflict, run.quota) != before:
        waits.append(0.0)  # the conditions have something new to say
    return min(waits, default=None)
