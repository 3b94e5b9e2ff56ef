"""Settling: what the end of an attempt makes of its trial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from tune_operator.api.failure import Failure
from tune_operator.lifecycle.budget import exhausted
from tune_operator.lifecycle.classify import Counts, Then, Verdict
from tune_operator.lifecycle.evidence import Evidence
from tune_operator.lifecycle.objective import objective_of
from tune_operator.lifecycle.trial_state import (
    NO_VALID_CHECKPOINT,
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef

PLAN_LIMIT = 4
"""Manifests kept in a resume plan."""


@dataclass(frozen=True)
class Settled:
    """The trial after its attempt, and the iterations that must be trained again."""

    trial: TrialState
    lost_iterations: int = 0


def settle(
    trial: TrialState,
    verdict: Verdict,
    evidence: Evidence,
    committed: tuple[CheckpointRef, ...],
    failure: Failure,
    metric: str,
) -> Settled:
    """Close the open attempt. ``committed`` is the one LIST made now that it is over."""
    trial = _take_in(trial, evidence.record, metric)
    plan = resume_plan(trial, committed)
    fresh = bool(plan) and (not trial.plan or plan[0] != trial.plan[0])
    had_commit = trial.checkpoint is not None
    trial = replace(
        trial,
        open=False,
        pod_uid="",
        stop_intent=StopIntent.NONE,
        seq=0,
        plan=plan,
        checkpoint=_newest(trial, plan, evidence.now),
    )
    if verdict.then is Then.COMPLETE:
        return Settled(_end(trial, Phase.TERMINATED, verdict.reason, evidence.now))
    lost = max(0, trial.iteration - (plan[0].iteration if plan else 0))
    trial = replace(trial, phase=Phase.PENDING, reason="")
    if verdict.then is Then.RESUME:
        trial = _count(_interrupt(trial, verdict, evidence), verdict.counts, fresh=fresh)
    if had_commit and not plan:
        # Starting from scratch here would silently throw work away (P6).
        return Settled(_end(trial, Phase.ERRORED, NO_VALID_CHECKPOINT, evidence.now))
    if verdict.counts in (Counts.FAILURE, Counts.DISRUPTION) and exhausted(
        trial, failure.max_failures
    ):
        # What was noted before a Pod was deleted tells more than the verdict after it (row 20).
        reason = trial.interruption.reason if trial.interruption else verdict.reason
        return Settled(_end(trial, Phase.ERRORED, reason, evidence.now))
    return Settled(trial, lost)


def resume_plan(
    trial: TrialState, committed: tuple[CheckpointRef, ...]
) -> tuple[CheckpointRef, ...]:
    """Manifests of the attempt just ended, newest first, then the plan it started with.

    A manifest of an older attempt that is not in that plan was committed by a zombie after its
    attempt was settled: it does not exist (P5).
    """
    own = sorted((ref for ref in committed if ref.attempt == trial.attempt), reverse=True)
    earlier = [ref for ref in trial.plan if ref not in own]
    return tuple([*own, *earlier][:PLAN_LIMIT])


def _take_in(trial: TrialState, record: ExitRecord | None, metric: str) -> TrialState:
    """The record's last result counts even if no report of it ever arrived."""
    if record is None or record.last_result is None or record.iteration < trial.iteration:
        return trial
    objective = objective_of(record.last_result.metrics, metric)
    return replace(
        trial,
        iteration=record.iteration,
        objective=trial.objective if objective is None else objective,
    )


def _newest(trial: TrialState, plan: tuple[CheckpointRef, ...], now: datetime) -> Checkpoint | None:
    if not plan:
        return None
    known = trial.checkpoint
    return known if known is not None and known.ref == plan[0] else Checkpoint(plan[0], now)


def _interrupt(trial: TrialState, verdict: Verdict, evidence: Evidence) -> TrialState:
    pod = evidence.pod
    why = trial.interruption
    # A trainer that never started is deleted by us; the reason was noted before that (row 20).
    noted = why if verdict.row == 3 and why is not None and why.attempt == trial.attempt else None
    return replace(
        trial,
        node=pod.node if pod else trial.node,
        interruption=Interruption(
            cls=verdict.cls,
            reason=noted.reason if noted else verdict.reason,
            message=noted.message if noted else verdict.message,
            row=verdict.row,
            attempt=trial.attempt,
            iteration=trial.iteration,
            time=evidence.now,
            exit_code=pod.trainer.exit_code if pod else None,
            node=pod.node if pod else trial.node,
        ),
    )


def _count(trial: TrialState, counts: Counts, *, fresh: bool) -> TrialState:
    return replace(
        trial,
        failures=trial.failures + (counts is Counts.FAILURE),
        disruptions=trial.disruptions + (counts is Counts.DISRUPTION),
        infrastructure=trial.infrastructure + (counts is Counts.INFRASTRUCTURE),
        streak=0 if fresh else trial.streak + 1,
    )


def _end(trial: TrialState, phase: Phase, reason: str, now: datetime) -> TrialState:
    return replace(trial, phase=phase, reason=reason, plan=(), streak=0, ended=now)
