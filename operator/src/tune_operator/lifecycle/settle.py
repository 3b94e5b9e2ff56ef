"""Settling: what the end of an attempt makes of its trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tune_operator.api.failure import Failure
from tune_operator.lifecycle.budget import exhausted
from tune_operator.lifecycle.evidence import Evidence
from tune_operator.lifecycle.objective import objective_of
from tune_operator.lifecycle.trial_state import (
    EXPERIMENT_STOPPED,
    NO_VALID_CHECKPOINT,
    Avoided,
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
    TrialState,
)
from tune_operator.lifecycle.verdicts import Counts, Ends, Then, Verdict
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.result import Result

UNLISTED = 4
"""Newest manifests that stay in a plan whatever a LIST shows, which may be behind."""

PLAN_LIMIT = 256
"""Manifests of a plan: all that retention may keep of a trial (200), and those about to go."""

AVOID_LIMIT = 3
AVOID_FOR = timedelta(hours=1)
"""How many nodes a trial keeps away from, and for how long: a node may be mended."""


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
    recovered: Sequence[Result] = (),
) -> Settled:
    """Close the open attempt. ``committed`` is the one LIST made now that it is over or given up;
    ``recovered`` are results that no report brought, found in exit record and manifests, ascending.
    """
    trial = _take_in(trial, evidence.record, recovered, metric)
    had_commit = trial.checkpoint is not None
    plan = resume_plan(trial, committed)
    fresh = bool(plan) and (not trial.plan or plan[0] != trial.plan[0])
    trial = _close(trial, plan, evidence.now)
    if verdict.then is Then.COMPLETE:
        return Settled(_end(trial, Phase.TERMINATED, verdict.reason, evidence.now))
    # What ended as a stop intent asked is no interruption: it counts nowhere.
    interrupted = verdict.then is Then.RESUME or verdict.counts is not Counts.NOTHING
    if interrupted:
        trial = _avoid(_interrupt(trial, verdict, evidence), verdict, evidence.now)
        trial = _count(trial, verdict.counts, fresh=fresh)
    why = _why_errored(trial, verdict, failure, had_commit=had_commit)
    if why:
        return Settled(_end(trial, Phase.ERRORED, why, evidence.now))
    if evidence.stop_intent is StopIntent.STOP and not interrupted:
        return Settled(_end(trial, Phase.TERMINATED, EXPERIMENT_STOPPED, evidence.now))
    return Settled(trial, max(0, trial.iteration - (plan[0].iteration if plan else 0)))


def resume_plan(
    trial: TrialState, committed: tuple[CheckpointRef, ...]
) -> tuple[CheckpointRef, ...]:
    """Manifests of the attempt just ended, newest first, then the plan it started with.

    A manifest of an older attempt that is not in that plan was committed by a zombie after its
    attempt was settled: it does not exist (P5). What retention has deleted drops out of the end, so
    that what it keeps, as the best of long ago, never does.
    """
    own = sorted((ref for ref in committed if ref.attempt == trial.attempt), reverse=True)
    plan = [*own, *(ref for ref in trial.plan if ref not in own)]
    there = [ref for ref in plan[UNLISTED:] if ref in committed]
    return tuple([*plan[:UNLISTED], *there][:PLAN_LIMIT])


def _take_in(
    trial: TrialState, record: ExitRecord | None, recovered: Sequence[Result], metric: str
) -> TrialState:
    """What was committed or recorded counts even if no report of it ever arrived."""
    for result in recovered:
        trial = _with(trial, result, result.iteration or trial.iteration, metric)
    if record is None or record.last_result is None or record.iteration < trial.iteration:
        return trial
    return _with(trial, record.last_result, record.iteration, metric)


def _with(trial: TrialState, result: Result, iteration: int, metric: str) -> TrialState:
    objective = objective_of(result.metrics, metric)
    return replace(
        trial,
        seq=max(trial.seq, result.seq),
        iteration=iteration,
        objective=trial.objective if objective is None else objective,
    )


def _close(trial: TrialState, plan: tuple[CheckpointRef, ...], now: datetime) -> TrialState:
    return replace(
        trial,
        phase=Phase.PENDING,
        reason="",
        open=False,
        pod_uid="",
        stop_intent=StopIntent.NONE,
        seq=0,  # counted within an attempt
        plan=plan,
        checkpoint=_newest(trial, plan, now),
    )


def _newest(trial: TrialState, plan: tuple[CheckpointRef, ...], now: datetime) -> Checkpoint | None:
    if not plan:
        return None
    known = trial.checkpoint
    return known if known is not None and known.ref == plan[0] else Checkpoint(plan[0], now)


def _interrupt(trial: TrialState, verdict: Verdict, evidence: Evidence) -> TrialState:
    pod = evidence.pod
    why = trial.interruption
    # A trainer that does not start or hangs is deleted by us; why was noted before that, with the
    # intent (rows 20 and 23).
    noted = why if evidence.stop_intent and why and why.attempt == trial.attempt else None
    node = pod.node if pod else trial.node
    return replace(
        trial,
        node=node,
        interruption=Interruption(
            cls=verdict.cls,
            reason=noted.reason if noted else verdict.reason,
            message=noted.message if noted else verdict.message,
            row=verdict.row,
            attempt=trial.attempt,
            iteration=trial.iteration,
            time=evidence.now,
            exit_code=pod.trainer.exit_code if pod else None,
            node=node,
        ),
    )


def _avoid(trial: TrialState, verdict: Verdict, now: datetime) -> TrialState:
    """A node that failed or lost the attempt is avoided for a while; the latest few of them are."""
    avoid = [each for each in trial.avoid if each.until > now]
    if trial.node and (verdict.counts is Counts.FAILURE or verdict.cls == "lost"):
        avoid = [each for each in avoid if each.node != trial.node]
        avoid.append(Avoided(trial.node, now + AVOID_FOR))
    return replace(trial, avoid=tuple(avoid[-AVOID_LIMIT:]))


def _count(trial: TrialState, counts: Counts, *, fresh: bool) -> TrialState:
    return replace(
        trial,
        failures=trial.failures + (counts is Counts.FAILURE),
        disruptions=trial.disruptions + (counts is Counts.DISRUPTION),
        infrastructure=trial.infrastructure + (counts is Counts.INFRASTRUCTURE),
        streak=0 if fresh else trial.streak + 1,
    )


def _why_errored(trial: TrialState, verdict: Verdict, failure: Failure, *, had_commit: bool) -> str:
    """The reason why the trial has no attempt left; empty while it has."""
    if verdict.ends is not Ends.NOTHING:
        return verdict.reason
    if had_commit and not trial.plan:
        # Starting from scratch here would silently throw work away (P6).
        return NO_VALID_CHECKPOINT
    counted = verdict.counts in (Counts.FAILURE, Counts.DISRUPTION)
    if counted and exhausted(trial, failure):
        # What was noted before a Pod was deleted tells more than the verdict after it.
        return trial.interruption.reason if trial.interruption else verdict.reason
    return ""


def _end(trial: TrialState, phase: Phase, reason: str, now: datetime) -> TrialState:
    """The plan stays: it says which of the trial's checkpoints are its own."""
    return replace(trial, phase=phase, reason=reason, avoid=(), streak=0, ended=now)
