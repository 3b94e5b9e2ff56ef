"""Failure budgets and the pause before the next attempt."""

from __future__ import annotations

from datetime import timedelta

from tune_operator.api.failure import Failure
from tune_operator.lifecycle.trial_state import TrialState


def exhausted(trial: TrialState, failure: Failure) -> bool:
    """Whether the trial has no attempt left.

    N retries are N+1 attempts (Ray's ``max_failures``); -1 is no limit. A disruption uses up one
    like a failure, or under policy Ignore one of its own budget; rejections by infrastructure and
    stops use up nothing.
    """
    apart = failure.disruptions.policy == "Ignore"
    if apart and trial.disruptions > failure.disruptions.max:
        return True
    spent = trial.failures if apart else trial.failures + trial.disruptions
    return 0 <= failure.max_failures < spent


def backoff(trial: TrialState, initial_seconds: float, max_seconds: float) -> timedelta:
    """``min(max, initial * 2^(n-1))``, n = endings in a row without a new committed checkpoint.

    The first disruption restarts at once: the node is gone, the trainer is not to blame.
    """
    if trial.streak <= 0 or (
        trial.streak == 1 and trial.interruption and trial.interruption.cls in ("preempted", "lost")
    ):
        return timedelta()
    # 2^60 seconds is beyond any maximum; the bound keeps the power from overflowing.
    return timedelta(seconds=min(max_seconds, initial_seconds * 2.0 ** min(trial.streak - 1, 60)))
