"""Conditions of an experiment (metav1.Condition): what people and GitOps tools wait for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tune_operator.api.models import TuneExperimentSpec
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.actions import EmitEvent
from tune_operator.lifecycle.classify import NORMAL_WAITING, START_TIMEOUT, Verdict
from tune_operator.lifecycle.events import told
from tune_operator.lifecycle.trial_rows import MESSAGE_LIMIT as TRIAL_MESSAGE_LIMIT
from tune_operator.lifecycle.trial_rows import REASON_LIMIT
from tune_operator.lifecycle.trial_state import Interruption, Phase, RunState, TrialState

MESSAGE_LIMIT = 1024
INFRASTRUCTURE_STREAK = 10
"""Row 14: Stalled after this many rejections in a row without a new commit."""

ALARMS = {
    "Accepted": "False",
    "StorageAvailable": "False",
    "Stalled": "True",
    "NameConflict": "True",
    "QuotaExceeded": "True",
    "PodHeld": "True",
}
"""Condition type → the status that is bad news and worth an Event."""

EVENT_NAMES = {"StorageAvailable": "StorageUnavailable", "NameConflict": "NameConflict"}
"""Condition type → the Event's reason, where it is not the condition's."""


_WAITS_FOR = "; running trials end after their current iteration"


@dataclass(frozen=True)
class Finding:
    """What a check outside the decision table found. ``ok`` None: not checked yet."""

    ok: bool | None = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Findings:
    """Checks that gate the start of work, and problems met when creating Pods and letting them go.

    ``tried``: this process knows how its creates ended; until then their problems stay as shown.
    """

    accepted: Finding = field(default_factory=Finding)
    storage: Finding = field(default_factory=Finding)
    name_conflict: str = ""
    quota: str = ""
    held: str = ""
    tried: bool = True


@dataclass(frozen=True)
class Condition:
    """One condition, before it has met its predecessor; ``status`` None: it stays as it was."""

    type: str
    status: bool | None
    reason: str = ""
    message: str = ""


def yes(kind: str, reason: str, message: str = "") -> Condition:
    """The condition holds."""
    return Condition(kind, status=True, reason=reason, message=message)


def no(kind: str, reason: str, message: str = "") -> Condition:
    """The condition does not hold."""
    return Condition(kind, status=False, reason=reason, message=message)


def as_it_was(kind: str) -> Condition:
    """Nobody looked: after a restart, during an outage, after the end. What is shown stays."""
    return Condition(kind, status=None)


def conditions(
    state: RunState,
    total: int,
    findings: Findings,
    verdicts: Iterable[tuple[TrialState, Verdict]] | None,
    *,
    deleting: bool,
    suspend: bool = False,
) -> list[Condition]:
    """All conditions that have something to say, in a stable order.

    ``verdicts`` None: nobody judged the attempts now.
    """
    ended = state.ended is not None
    total = state.size(total)
    found = [
        _finding("Accepted", findings.accepted),
        _finding("StorageAvailable", findings.storage),
        _ready(findings, ended=ended),
        _progressing(state, total, findings, deleting=deleting, suspend=suspend),
        _suspended(state, suspend=suspend, deleting=deleting),
        _stalled(state, verdicts),
        _stopping(state, deleting=deleting),
        _problem("NameConflict", "ForeignPod", findings.name_conflict, tried=findings.tried),
        _problem("QuotaExceeded", "QuotaExceeded", findings.quota, tried=findings.tried),
        _problem("PodHeld", "ForeignFinalizer", findings.held, tried=True),
    ]
    found += _terminal(state, total)
    return [condition for condition in found if condition is not None]


def merge(
    previous: list[Mapping[str, Any]], current: list[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """As written to status: the transition time moves only with the status."""
    before = {entry["type"]: entry for entry in previous}
    merged: list[dict[str, Any]] = []
    for condition in current:
        if condition.status is None:
            merged += [dict(before[condition.type])] if condition.type in before else []
            continue
        status = "True" if condition.status else "False"
        old = before.get(condition.type)
        same = old is not None and old["status"] == status
        merged.append(
            {
                "type": condition.type,
                "status": status,
                "observedGeneration": generation,
                "reason": condition.reason,
                "message": condition.message[:MESSAGE_LIMIT],
                "lastTransitionTime": (
                    old["lastTransitionTime"] if old and same else instants.render(now)
                ),
            }
        )
    return merged


def alarms(previous: list[Mapping[str, Any]], current: list[dict[str, Any]]) -> list[EmitEvent]:
    """A Warning for every condition that turned bad or is bad for another reason now."""
    before = {entry["type"]: (entry["status"], entry["reason"]) for entry in previous}
    return [
        EmitEvent("Warning", *_told(entry))
        for entry in current
        if ALARMS.get(entry["type"]) == entry["status"]
        and before.get(entry["type"]) != (entry["status"], entry["reason"])
    ]


def advice(
    previous: list[Mapping[str, Any]], current: list[dict[str, Any]], spec: TuneExperimentSpec
) -> list[EmitEvent]:
    """A Warning for what was just accepted and may not be meant."""
    turned = "True" in {e["status"] for e in current if e["type"] == "Accepted"}
    before = "True" in {e["status"] for e in previous if e["type"] == "Accepted"}
    asked = spec.checkpoint
    saves = asked.frequency > 0 or asked.max_lost_seconds > 0 or asked.at_end
    if before or not turned or not saves or spec.failure.max_failures != 0:
        return []
    text = (
        "spec.failure.maxFailures is 0: a trial whose Pod fails or is taken away ends Errored, "
        "although there is a checkpoint to go on from; raise it to resume"
    )
    return [EmitEvent("Warning", "NoRetries", text)]


def _told(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Reason and message of the Event; what the condition gives as its reason does not get lost."""
    reason = EVENT_NAMES.get(entry["type"])
    if reason is None:
        return entry["reason"], entry["message"]
    return reason, told(entry["reason"], entry["message"])


def _finding(kind: str, finding: Finding) -> Condition:
    if finding.ok is None:
        return as_it_was(kind)
    return Condition(kind, finding.ok, finding.reason, finding.message)


def _ready(findings: Findings, *, ended: bool) -> Condition:
    if ended:
        return yes("Ready", "Ended", "nothing is left to run; changes have no effect any more")
    for finding in (findings.accepted, findings.storage):
        if finding.ok is False:
            return no("Ready", finding.reason, finding.message)
    if findings.accepted.ok and findings.storage.ok:
        return yes("Ready", "AbleToRun", "specification and storage are fine")
    return as_it_was("Ready")


def _progressing(
    state: RunState, total: int, findings: Findings, *, deleting: bool, suspend: bool
) -> Condition:
    if state.ended is not None:
        return no("Progressing", "Ended", "nothing is left to run")
    if deleting:
        return no("Progressing", "Deleted", "no new trial starts")
    if state.stopped:
        return no("Progressing", state.stopped, "no new trial starts")
    if suspend:
        return no("Progressing", "Suspended", "no trial starts until spec.suspend is false")
    if findings.accepted.ok is False or findings.storage.ok is False:
        return no("Progressing", "Blocked", "see Accepted and StorageAvailable")
    done = sum(trial.finished for trial in state.trials)
    text = f"{len(state.open_attempts)} of {total} trials run, {done} are done"
    return yes("Progressing", "TrialsRunning", text)


def _stalled(
    state: RunState, verdicts: Iterable[tuple[TrialState, Verdict]] | None
) -> Condition | None:
    """A trainer that cannot start, or trials that end again and again without any progress."""
    if state.ended is not None or state.stopped:
        return None
    if verdicts is None:
        return as_it_was("Stalled")
    for trial, verdict in verdicts:
        if verdict.row == 20 and verdict.reason not in (START_TIMEOUT, *NORMAL_WAITING):
            text = f"trial {trial.name}: {verdict.message or verdict.reason}"
            return yes("Stalled", verdict.reason, text)
    for trial in state.trials:
        why = trial.interruption
        if trial.finished or why is None or trial.seq > 0:
            continue
        often = INFRASTRUCTURE_STREAK if why.cls == "rejected" else 1
        if why.cls in ("failed", "rejected", "not started") and trial.streak >= often:
            text = f"trial {trial.name} attempt {why.attempt}: {told(why.reason, _said(why))}"
            return yes("Stalled", _word(why.reason), text)
    return no("Stalled", "Moving", "no trial is held up")


def _suspended(state: RunState, *, suspend: bool, deleting: bool) -> Condition:
    if not suspend:
        return no("Suspended", "NotSuspended", "spec.suspend is false")
    if state.ended is not None or deleting or state.stopped:
        return no("Suspended", "Ending", "what ends or has ended is not suspended")
    if state.open_attempts:
        return no("Suspended", "Suspending", "running trials save a checkpoint and end")
    return yes("Suspended", "Suspended", "no trial runs; spec.suspend: false goes on from here")


def _stopping(state: RunState, *, deleting: bool) -> Condition | None:
    if deleting:
        return yes("Stopping", "Deleted", "running trials save a checkpoint and end")
    if state.stopped and state.ended is None:
        return yes("Stopping", state.stopped, f"{state.stopped_message}{_WAITS_FOR}")
    return None


def stopped_by(previous: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """Why the whole run is being ended, read back from its condition; empty if it is not."""
    for entry in previous:
        if entry["type"] == "Stopping" and entry["reason"] != "Deleted":
            return entry["reason"], entry["message"].removesuffix(_WAITS_FOR)
    return "", ""


def _problem(kind: str, reason: str, message: str, *, tried: bool) -> Condition | None:
    if message:
        return yes(kind, reason, message)
    return None if tried else as_it_was(kind)


def _terminal(state: RunState, total: int) -> list[Condition]:
    if state.ended is None:
        return []
    errored = [trial for trial in state.trials if trial.phase is Phase.ERRORED]
    terminated = sum(trial.phase is Phase.TERMINATED for trial in state.trials)
    example = f"; {errored[-1].name}: {_why(errored[-1])}" if errored else ""
    text = f"{terminated} of {total} trials terminated, {len(errored)} errored{example}"
    if state.stopped:
        return [yes("Failed", state.stopped, f"{state.stopped_message}; {text}")]
    if len(errored) == total:
        return [yes("Failed", "AllTrialsErrored", text)]
    reason = "TrialsErrored" if errored else "AllTrialsTerminated"
    return [yes("Complete", reason, text)]


def _why(trial: TrialState) -> str:
    """Why a trial errored: its own reason, with the last interruption's words if they are its."""
    why = trial.interruption
    return told(trial.reason, _said(why) if why and why.reason == trial.reason else "")


def _said(why: Interruption) -> str:
    return why.message[:TRIAL_MESSAGE_LIMIT]


def _word(reason: str) -> str:
    """A condition's reason is one CamelCase word."""
    cleaned = "".join(ch for ch in reason if ch.isalnum() or ch == "_")[:REASON_LIMIT]
    return cleaned if cleaned[:1].isalpha() else "TrialFailed"
