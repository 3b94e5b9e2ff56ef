"""What each row of the decision table concludes: class, counter, reason, and what follows.

Which row it is, is decided in `classify`; here it is only put into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tune_operator.lifecycle import rules
from tune_operator.lifecycle.evidence import RECORD_GRACE, Evidence
from tune_operator.lifecycle.trial_state import StopIntent
from tune_trainer.protocol.exit_record import Outcome

NORMAL_WAITING = ("ContainerCreating", "PodInitializing")
"""What the kubelet calls a container that is on its way."""

START_TIMEOUT = "StartTimeout"
"""Reason where the kubelet gave none."""

NO_PROGRESS = "ProgressDeadlineExceeded"
"""Reason of a trainer that runs and reports nothing."""

INTERRUPTIONS_IN_A_ROW = 10
"""Row 9: this many endings in a row without a new commit make an interruption a failure."""

NODE_LOOK = timedelta(seconds=10)
"""A node need not be watched, and may come back or go without a word: it is asked this often."""


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
    FENCE = "fence"  # as STOPPED or RESUME, although its process may still run
    START_ERROR = "start error"  # record the intent, then delete
    HUNG = "hung"  # record the intent, then delete
    CHECKPOINT = "checkpoint"  # it goes on, and is asked to save now


class Ends(StrEnum):
    """What a rule ends beyond the attempt."""

    NOTHING = ""
    TRIAL = "trial"
    EXPERIMENT = "experiment"


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
    ends: Ends = Ends.NOTHING


def completed(e: Evidence) -> Verdict:
    return Verdict(2, "completed", Then.COMPLETE, reason=e.record.reason if e.record else "")


def stopped(e: Evidence) -> Verdict:
    if e.stop_intent in _FAILURES:
        reason, message = _FAILURES[e.stop_intent](e)
        return Verdict(3, "failed", Then.RESUME, Counts.FAILURE, reason, message)
    return Verdict(3, "stopped", Then.STOPPED, reason=e.stop_intent.value)


def terminating(e: Evidence) -> Verdict:
    return Verdict(4, "terminating", Then.WAIT, look_again=e.overdue_at)


def overdue(e: Evidence) -> Verdict:
    """Not for ever: a node that falls silent, or is silent for long enough, is another row."""
    again = e.now + NODE_LOOK if e.given_up_at is None else e.given_up_at
    where = f"node {_node(e)}, which is unreachable," if e.node_unreachable else f"node {_node(e)}"
    text = f"Pod {_pod(e)} on {where} outlives its grace"
    return Verdict(5, "terminating", Then.WAIT, reason="Overdue", message=text, look_again=again)


def orphaned(e: Evidence) -> Verdict:
    text = f"node {_node(e)} of Pod {_pod(e)} is gone; Pod garbage collection ends it"
    again = e.now + NODE_LOOK
    return Verdict(6, "terminating", Then.WAIT, reason="NodeGone", message=text, look_again=again)


def lost(e: Evidence) -> Verdict:
    """With a stop intent its attempt is settled as that says; only a failure of its own counts."""
    text = f"node {_node(e)} is unreachable; Pod {_pod(e)} may still run there and is not heard"
    counts = Counts.NOTHING if e.stop_intent else Counts.DISRUPTION
    if e.stop_intent in _FAILURES:
        counts = Counts.FAILURE
    return Verdict(7, "lost", Then.FENCE, counts, "NodeUnreachable", text)


def evicted(e: Evidence) -> Verdict:
    return _preempted(8, e)


def interrupted(e: Evidence) -> Verdict:
    signal = e.record.signal if e.record else ""
    if e.streak + 1 >= INTERRUPTIONS_IN_A_ROW:
        text = f"interrupted {e.streak + 1} times in a row without a new checkpoint"
        return Verdict(9, "failed", Then.RESUME, Counts.FAILURE, "Interrupted", text)
    return Verdict(9, "interrupted", Then.RESUME, Counts.NOTHING, signal or "Interrupted")


def no_result(e: Evidence) -> Verdict:
    if e.record is None:
        deadline = (e.silent_since or e.now) + RECORD_GRACE
        if e.now < deadline:
            return Verdict(10, "no result yet", Then.WAIT, look_again=deadline)
    reason, message = _account(e, "NoResult", "exited 0 without completing the trial")
    return Verdict(10, "failed", Then.RESUME, Counts.FAILURE, reason, message)


def disrupted(e: Evidence) -> Verdict:
    return _preempted(11, e)


def refused(e: Evidence) -> Verdict:
    return Verdict(
        12, "rejected", Then.RESUME, Counts.INFRASTRUCTURE, e.pod_reason, _pod_message(e)
    )


def killed(e: Evidence) -> Verdict:
    return _preempted(13, e)


def unusable(e: Evidence) -> Verdict:
    _, message = _account(e, "", "store or operator unusable, or the attempt was fenced")
    return Verdict(14, "rejected", Then.RESUME, Counts.INFRASTRUCTURE, "Unusable", message)


def over_its_limit(e: Evidence) -> Verdict:
    return Verdict(15, "failed", Then.RESUME, Counts.FAILURE, "ResourceLimit", _pod_message(e))


def failed(e: Evidence) -> Verdict:
    """By the first rule that matches, else by what is known."""
    match = rules.matching(e.failure.rules, e.pod.trainer.exit_code if e.pod else None)
    if match is not None:
        return _by_rule(e, match)
    if e.pod is not None and e.pod.trainer.reason == "OOMKilled":
        text = "the trainer used more memory than its limit; raise its memory limit"
        return Verdict(16, "failed", Then.RESUME, Counts.FAILURE, "OOMKilled", text)
    if e.deleted is not None:
        return Verdict(16, "preempted", Then.RESUME, Counts.DISRUPTION, "Deleted")
    return Verdict(16, "failed", Then.RESUME, Counts.FAILURE, *_own_account(e))


def vanished(_: Evidence) -> Verdict:
    text = "the Pod vanished without an exit record"
    return Verdict(17, "lost", Then.RESUME, Counts.DISRUPTION, "PodGone", text)


def not_created(_: Evidence) -> Verdict:
    return Verdict(18, "not created", Then.CREATE)


def not_placed(e: Evidence) -> Verdict:
    """The scheduler's own words change with every node that comes or goes: they stay in the Pod, so
    that nobody is told of one wait again and again.
    """
    if e.pod and e.pod.gated:
        text = f"Pod {_pod(e)} has scheduling gates"
        return Verdict(19, "pending", Then.WAIT, reason="SchedulingGated", message=text)
    if not (e.pod and e.pod.unschedulable):
        return Verdict(19, "pending", Then.WAIT, reason="Unscheduled")
    text = f"none takes Pod {_pod(e)}: kubectl describe pod {_pod(e)}"
    return Verdict(19, "pending", Then.WAIT, reason="Unschedulable", message=text)


def starting(e: Evidence) -> Verdict:
    reason, message = start_problem(e)
    if e.stop_intent:
        return Verdict(20, "starting", Then.WAIT, reason=reason, message=message)
    if e.start_deadline is not None and e.now >= e.start_deadline:
        return Verdict(20, "not started", Then.START_ERROR, reason=reason, message=message)
    moments = [at for at in (e.slow_start_at, e.start_deadline) if at is not None and at > e.now]
    again = min(moments, default=None)
    return Verdict(20, "starting", Then.WAIT, Counts.NOTHING, reason, message, again)


def about_to_go(e: Evidence) -> Verdict:
    """Who is being stopped saves anyway."""
    then = Then.WAIT if e.stop_intent else Then.CHECKPOINT
    again = e.hung_at if e.stop_intent in ("", StopIntent.STOP) else None
    return Verdict(
        21,
        "running",
        then,
        reason="DisruptionAnnounced",
        message=e.announcement,
        look_again=again,
    )


def silent_node(e: Evidence) -> Verdict:
    text = f"node {_node(e)} is not heard of"
    again = e.now + NODE_LOOK
    return Verdict(22, "unknown", Then.WAIT, reason="NodeUnknown", message=text, look_again=again)


def hung(e: Evidence) -> Verdict:
    return Verdict(23, "hung", Then.HUNG, Counts.NOTHING, *_silence(e))


def running(e: Evidence) -> Verdict:
    again = e.hung_at if e.stop_intent in ("", StopIntent.STOP) else None
    again = None if e.hung else again
    return Verdict(24, "running", Then.WAIT, look_again=again)


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


def _silence(e: Evidence) -> tuple[str, str]:
    seconds = e.failure.progress_deadline_seconds
    return NO_PROGRESS, f"the trainer reported nothing for {seconds} seconds"


_FAILURES: Final = {StopIntent.START_ERROR: start_problem, StopIntent.HUNG: _silence}
"""Stop intents that are the trainer's own failure, and what is known of it."""


def _by_rule(e: Evidence, match: rules.Match) -> Verdict:
    action = match.rule.action
    reason, _ = _own_account(e)
    words = _words(e)
    text = f"{match} ({action})"
    if action in ("Ignore", "Count"):
        counts = Counts.NOTHING if action == "Ignore" else Counts.FAILURE
        return Verdict(16, "failed", Then.RESUME, counts, reason, _joined(text, words))
    ends = Ends.TRIAL if action == "FailTrial" else Ends.EXPERIMENT
    # The rule is the reason; what the trainer itself gave as one would get lost.
    if not words.startswith(reason):
        words = _joined(reason, words)
    text = _joined(text, words)
    return Verdict(16, "failed", Then.RESUME, Counts.FAILURE, f"{action}Rule", text, ends=ends)


def _preempted(row: int, e: Evidence) -> Verdict:
    # The reason's text is recorded for people and never switched on: Kubernetes adds new ones.
    reason = e.pod.disruption_target or e.pod.termination_target if e.pod else ""
    return Verdict(
        row,
        "preempted",
        Then.RESUME,
        Counts.DISRUPTION,
        reason or e.pod_reason or "Deleted",
        _pod_message(e),
    )


def _own_account(e: Evidence) -> tuple[str, str]:
    reason = e.pod_reason or (e.pod.trainer.reason if e.pod else "") or "Error"
    return _account(e, reason, "")


def _account(e: Evidence, reason: str, message: str) -> tuple[str, str]:
    """Reason and message in the trainer's own words where it left any."""
    if e.record is not None and e.record.outcome is Outcome.FAILED:
        return e.record.reason, e.record.message
    code = e.pod.trainer.exit_code if e.pod else None
    return reason, _joined(f"exit code {code}" if code else "", _words(e) or message)


def _words(e: Evidence) -> str:
    """What trainer, kubelet or Pod left as a message."""
    if e.record is not None and e.record.outcome is Outcome.FAILED:
        return e.record.message
    return (e.pod.trainer.message or e.pod.message) if e.pod else ""


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _pod(e: Evidence) -> str:
    return e.pod.name if e.pod else ""


def _pod_message(e: Evidence) -> str:
    return e.pod.message if e.pod else ""


def _node(e: Evidence) -> str:
    return e.pod.node if e.pod else ""
