"""Events on the experiment: few, named, past tense."""

from __future__ import annotations

from collections.abc import Sequence

from tune_operator.api.failure import Failure
from tune_operator.lifecycle.actions import EmitEvent
from tune_operator.lifecycle.budget import exhausted
from tune_operator.lifecycle.classify import Counts, Then, Verdict
from tune_operator.lifecycle.trial_state import NO_VALID_CHECKPOINT, Phase, RunState, TrialState

NORMAL, WARNING = "Normal", "Warning"


def settle_events(trial: TrialState, verdict: Verdict, failure: Failure) -> list[EmitEvent]:
    """What people are told of an attempt that ended."""
    planned = verdict.then is not Then.RESUME and verdict.counts is Counts.NOTHING
    if trial.phase is Phase.TERMINATED or (planned and not trial.finished):
        return []  # the status says it, and hundreds of such events would hide others
    why = trial.interruption
    detail = told(why.reason, why.message) if why else verdict.reason
    if trial.phase is Phase.ERRORED:
        if trial.reason == NO_VALID_CHECKPOINT:
            detail = f"{NO_VALID_CHECKPOINT}: a checkpoint was reported and is not in the store"
        text = f"trial {trial.name} errored in attempt {trial.attempt}: {detail}"
        errored = EmitEvent(WARNING, "TrialErrored", text)
        if not exhausted(trial, failure):
            return [errored]
        spent = (
            f"trial {trial.name} had {trial.failures} failures and {trial.disruptions} "
            f"disruptions; {_budget(failure)}"
        )
        return [errored, EmitEvent(WARNING, "BudgetExhausted", spent)]
    named = {Counts.FAILURE: "TrialFailed", Counts.DISRUPTION: "TrialPreempted"}
    reason = named.get(verdict.counts, "TrialInterrupted")
    text = f"trial {trial.name} attempt {trial.attempt} ended at iteration {trial.iteration}"
    kind = NORMAL if verdict.counts is Counts.NOTHING else WARNING
    return [EmitEvent(kind, reason, f"{text}: {detail}")]


def _budget(failure: Failure) -> str:
    text = f"spec.failure.maxFailures is {failure.max_failures}"
    if failure.disruptions.policy == "Ignore":
        text += f", spec.failure.disruptions.max is {failure.disruptions.max}"
    return text


def told(reason: str, message: str) -> str:
    """``reason: message``; messages of Python exceptions begin with the reason already."""
    if not message or message.startswith(reason):
        return message or reason
    return f"{reason}: {message}"


def waiting_events(trial: TrialState, verdict: Verdict) -> list[EmitEvent]:
    """What keeps an attempt from going on and only people can change (rows 5 and 19)."""
    where = f"trial {trial.name} attempt {trial.attempt}"
    if verdict.row == 5:
        return [EmitEvent(WARNING, "TerminationOverdue", f"{where}: {verdict.message}")]
    if verdict.row == 19 and verdict.reason != "Unscheduled":
        text = f"{where} waits for a node: {verdict.message or verdict.reason}"
        return [EmitEvent(NORMAL, "TrialNotScheduled", text)]
    return []


def start_events(before: TrialState, begun: TrialState) -> list[EmitEvent]:
    """A later attempt says where it goes on."""
    if before.attempt == 0:
        return []
    place = f"from the checkpoint of iteration {begun.iteration}"
    if not begun.plan:
        place = "from scratch, there was no checkpoint yet"
    text = f"trial {begun.name} resumed as attempt {begun.attempt} {place}"
    return [EmitEvent(NORMAL, "TrialResumed", text)]


def end_events(trials: Sequence[TrialState], run: RunState) -> list[EmitEvent]:
    """The experiment reached its end."""
    total = len(trials)
    errored = sum(trial.phase is Phase.ERRORED for trial in trials)
    if run.stopped:
        return [EmitEvent(WARNING, "ExperimentFailed", f"{run.stopped}: {run.stopped_message}")]
    if errored == total:
        return [EmitEvent(WARNING, "ExperimentFailed", f"all {total} trials errored")]
    text = f"{total - errored} of {total} trials terminated, {errored} errored"
    return [EmitEvent(NORMAL, "ExperimentCompleted", text)]


def left_events(*, settled: bool, uri: str) -> list[EmitEvent]:
    """A deleted experiment goes; where its state is, and whether all of it could be written."""
    if settled:
        return [EmitEvent(NORMAL, "ExperimentStopped", f"state and checkpoints stay at {uri}")]
    text = (
        f"the last state of running trials was not written to {uri}: their checkpoints are there, "
        "what came after them is not"
    )
    return [EmitEvent(WARNING, "ExperimentCheckpointNotWritten", text)]


def purge_events(*, stays: bool, uri: str) -> list[EmitEvent]:
    """What became of the storage of a deleted experiment whose policy is to delete it."""
    if not stays:
        return []
    text = (
        f"not everything at {uri} could be deleted in the time to stop: delete it there; "
        "nothing will use it again"
    )
    return [EmitEvent(WARNING, "StorageRemains", text)]
