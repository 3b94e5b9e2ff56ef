"""The decision table (DESIGN 5.3): what happened to a Pod is read off here and nowhere else.

The first row that matches wins. Rows of later features (node loss 6 and 7, checkpoint before
eviction 21, silent nodes 22, hung trainers 23) have their numbers reserved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tune_operator.lifecycle.evidence import (
    KILLED_BY_NODE,
    RECORD_GRACE,
    REJECTED_BY_NODE,
    Evidence,
)
from tune_operator.lifecycle.trial_state import StopIntent
from tune_trainer.protocol.environment import EXIT_UNUSABLE
from tune_trainer.protocol.exit_record import Outcome

NORMAL_WAITING = ("ContainerCreating", "PodInitializing")
"""What the kubelet calls a container that is on its way."""

START_TIMEOUT = "StartTimeout"
"""Reason where the kubelet gave none."""

INTERRUPTIONS_IN_A_ROW = 10
"""Row 9: this many endings in a row without a new commit make an interruption a failure."""


class Counts(StrEnum):
    """Which counter an ending goes to."""

    NOTHING = ""
    FAILURE = "failure"
    DISRUPTION = "disruption"
    INFRASTRUCTURE = "infrastructure"


class Then(StrEnum):
    """What follows from a row."""

    WAIT = "wait"
    CREATE = "create"
    COMPLETE = "complete"
    STOPPED = "stopped"  # as the stop intent says
    RESUME = "resume"  # the attempt is over; the trial goes on while its budget lasts
    START_ERROR = "start error"  # record the intent, then delete


@dataclass(frozen=True)
class Verdict:
    """A row, applied. ``look_again`` is when time alone may change the verdict."""

    row: int
    cls: str
    then: Then
    counts: Counts = Counts.NOTHING
    reason: str = ""
    message: str = ""
    look_again: datetime | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    number: int
    matches: Callable[[Evidence], bool]
    verdict: Callable[[Evidence], Verdict]


def classify(evidence: Evidence) -> Verdict:
    """The verdict of the first row that matches. The exit record must be decided by now."""
    return next(row for row in TABLE if row.matches(evidence)).verdict(evidence)


def _completed(e: Evidence) -> bool:
    return e.record is not None and e.record.outcome is Outcome.COMPLETED


def _row3(e: Evidence) -> Verdict:
    if e.stop_intent is StopIntent.START_ERROR:
        reason, message = start_problem(e)
        return Verdict(3, "failed", Then.RESUME, Counts.FAILURE, reason, message)
    return Verdict(3, "stopped", Then.STOPPED, reason=e.stop_intent.value)


def _row4(e: Evidence) -> Verdict:
    return Verdict(4, "terminating", Then.WAIT, look_again=e.overdue_at)


def _row8(e: Evidence) -> Verdict:
    return _preempted(8, e)


def _row9(e: Evidence) -> Verdict:
    signal = e.record.signal if e.record else ""
    if e.streak + 1 >= INTERRUPTIONS_IN_A_ROW:
        text = f"interrupted {e.streak + 1} times in a row without a new checkpoint"
        return Verdict(9, "failed", Then.RESUME, Counts.FAILURE, "Interrupted", text)
    return Verdict(9, "interrupted", Then.RESUME, Counts.NOTHING, signal or "Interrupted")


def _row10(e: Evidence) -> Verdict:
    if e.record is None:
        deadline = (e.silent_since or e.now) + RECORD_GRACE
        if e.now < deadline:
            return Verdict(10, "no result yet", Then.WAIT, look_again=deadline)
    reason, message = _account(e, "NoResult", "exited 0 without completing the trial")
    return Verdict(10, "failed", Then.RESUME, Counts.FAILURE, reason, message)


def _row12(e: Evidence) -> Verdict:
    message = e.pod.message if e.pod else ""
    return Verdict(12, "rejected", Then.RESUME, Counts.INFRASTRUCTURE, e.pod_reason, message)


def _row14(e: Evidence) -> Verdict:
    _, message = _account(e, "", "store or operator unusable, or the attempt was fenced")
    return Verdict(14, "rejected", Then.RESUME, Counts.INFRASTRUCTURE, "Unusable", message)


def _row15(e: Evidence) -> Verdict:
    message = e.pod.message if e.pod else ""
    return Verdict(15, "failed", Then.RESUME, Counts.FAILURE, "ResourceLimit", message)


def _row16(e: Evidence) -> Verdict:
    if e.pod is not None and e.pod.trainer.reason == "OOMKilled":
        text = "the trainer used more memory than its limit; raise spec.trainer.resources"
        return Verdict(16, "failed", Then.RESUME, Counts.FAILURE, "OOMKilled", text)
    if e.deleted is not None:
        return Verdict(16, "preempted", Then.RESUME, Counts.DISRUPTION, "Deleted")
    reason = e.pod_reason or (e.pod.trainer.reason if e.pod else "") or "Error"
    reason, message = _account(e, reason, "")
    return Verdict(16, "failed", Then.RESUME, Counts.FAILURE, reason, message)


def _row17(_: Evidence) -> Verdict:
    text = "the Pod vanished without an exit record"
    return Verdict(17, "lost", Then.RESUME, Counts.DISRUPTION, "PodGone", text)


def _row19(e: Evidence) -> Verdict:
    if e.pod and e.pod.gated:
        return Verdict(19, "pending", Then.WAIT, reason="SchedulingGated")
    return Verdict(
        19,
        "pending",
        Then.WAIT,
        reason="Unschedulable" if e.pod and e.pod.unschedulable else "Unscheduled",
        message=e.pod.unschedulable if e.pod else "",
    )


def _row20(e: Evidence) -> Verdict:
    reason, message = start_problem(e)
    if e.start_deadline is not None and e.now >= e.start_deadline:
        return Verdict(20, "not started", Then.START_ERROR, reason=reason, message=message)
    moments = [at for at in (e.slow_start_at, e.start_deadline) if at is not None and at > e.now]
    again = min(moments, default=None)
    return Verdict(20, "starting", Then.WAIT, Counts.NOTHING, reason, message, again)


def start_problem(e: Evidence) -> tuple[str, str]:
    """Reason and message of a trainer that does not start, in the kubelet's words if it has any.

    Of a missing ConfigMap, Secret or volume it says nothing in the Pod's status, only in events.
    """
    if e.pod is None:
        return START_TIMEOUT, ""
    trainer = e.pod.trainer
    if trainer.waiting_reason not in ("", *NORMAL_WAITING):
        return trainer.waiting_reason, trainer.waiting_message
    if e.slow_start_at is None or e.now < e.slow_start_at:
        return trainer.waiting_reason or START_TIMEOUT, ""
    return "SlowStart", (
        f"Pod {e.pod.name} still waits for its image, a ConfigMap, a Secret or a volume: "
        f"kubectl describe pod {e.pod.name}"
    )


def _preempted(row: int, e: Evidence) -> Verdict:
    # The reason's text is recorded for people and never switched on: Kubernetes adds new ones.
    reason = e.pod.disruption_target or e.pod.termination_target if e.pod else ""
    message = e.pod.message if e.pod else ""
    return Verdict(
        row,
        "preempted",
        Then.RESUME,
        Counts.DISRUPTION,
        reason or e.pod_reason or "Deleted",
        message,
    )


def _account(e: Evidence, reason: str, message: str) -> tuple[str, str]:
    """Reason and message in the trainer's own words where it left any."""
    if e.record is not None and e.record.outcome is Outcome.FAILED:
        return e.record.reason, e.record.message
    if e.pod is None:
        return reason, message
    trainer = e.pod.trainer
    said = trainer.message or e.pod.message or message
    code = "" if trainer.exit_code in (None, 0) else f"exit code {trainer.exit_code}"
    return reason, ": ".join(part for part in (code, said) if part)


TABLE: tuple[Row, ...] = (
    Row(
        2,
        _completed,
        lambda e: Verdict(
            2, "completed", Then.COMPLETE, reason=e.record.reason if e.record else ""
        ),
    ),
    Row(3, lambda e: bool(e.stop_intent) and e.over, _row3),
    Row(4, lambda e: e.deleted is not None and not e.over and not e.overdue, _row4),
    Row(
        5,
        lambda e: e.deleted is not None and not e.over,
        lambda e: Verdict(
            5,
            "terminating",
            Then.WAIT,
            reason="Overdue",
            message=f"Pod {e.pod.name} on node {e.pod.node} outlives its grace" if e.pod else "",
        ),
    ),
    Row(8, lambda e: e.succeeded and not e.stopped and e.disruption_sign, _row8),
    Row(9, lambda e: e.over and e.interrupted and not e.disruption_sign, _row9),
    Row(10, lambda e: e.succeeded, _row10),
    Row(11, lambda e: e.failed and e.disruption_target, lambda e: _preempted(11, e)),
    Row(
        12,
        lambda e: (
            e.failed
            and not e.ever_started
            and (e.pod_reason in REJECTED_BY_NODE or e.pod_reason.startswith("OutOf"))
        ),
        _row12,
    ),
    Row(
        13,
        lambda e: e.failed and e.pod_reason in KILLED_BY_NODE and e.ever_started,
        lambda e: _preempted(13, e),
    ),
    Row(
        14,
        lambda e: e.failed and e.pod is not None and e.pod.trainer.exit_code == EXIT_UNUSABLE,
        _row14,
    ),
    Row(15, lambda e: e.failed and e.pod_reason == "Evicted" and e.ever_started, _row15),
    # A record Failed whose Pod is gone tells more than row 17's silence: the same row.
    Row(16, lambda e: e.failed or (e.gone and e.record is not None), _row16),
    Row(17, lambda e: e.gone, _row17),
    Row(18, lambda e: e.pod is None, lambda _: Verdict(18, "not created", Then.CREATE)),
    Row(
        19,
        lambda e: e.pod is not None and e.pod.scheduled is None and not e.ever_started,
        _row19,
    ),
    Row(20, lambda e: not e.ever_started, _row20),
    Row(24, lambda _: True, lambda _: Verdict(24, "running", Then.WAIT)),
)
