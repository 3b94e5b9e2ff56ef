"""Why attempts are ended by us: deletion, suspension, the end of the whole run (DESIGN 5.4)."""

from __future__ import annotations

from dataclasses import replace

from tune_operator.lifecycle.actions import DeletePod
from tune_operator.lifecycle.draft import Draft
from tune_operator.lifecycle.trial_state import Phase, StopIntent, TrialState


def intent_for_all(draft: Draft) -> StopIntent:
    """What holds for every attempt of the experiment; deletion is the strongest."""
    if draft.experiment.deleted is not None:
        return StopIntent.DELETE
    if draft.run.stopped:
        return StopIntent.STOP
    return StopIntent.SUSPEND if draft.spec.suspend else StopIntent.NONE


def stop(draft: Draft) -> None:
    """Note the intent on every open attempt, also on those that ended before we looked."""
    intent = intent_for_all(draft)
    # Only a deletion may be acted upon before it is journaled: the object itself records it.
    if intent is StopIntent.NONE or (intent is not StopIntent.DELETE and not draft.o.may_record):
        return
    for trial in draft.open:
        if trial.pod_uid == "":
            draft.put(left(trial))  # never created
        elif trial.stop_intent is StopIntent.NONE:
            draft.put(replace(trial, stop_intent=intent))


def judge_failures(draft: Draft) -> None:
    """End the whole run when more trials errored than it may have (failFast, maxFailedTrials)."""
    failure = draft.spec.failure
    allowed = 0 if failure.fail_fast else failure.max_failed_trials
    errored = [trial for trial in draft.trials if trial.phase is Phase.ERRORED]
    over = draft.run.stopped or draft.run.ended is not None
    if over or allowed < 0 or len(errored) <= allowed:
        return
    if failure.fail_fast:
        reason, which = "FailFast", "spec.failure.failFast is true"
    else:
        reason, which = "MaxFailedTrials", f"spec.failure.maxFailedTrials is {allowed}"
    last = max(errored, key=lambda trial: (trial.ended or draft.now, trial.index))
    text = f"{len(errored)} errored, the last was trial {last.name} ({last.reason}); {which}"
    draft.run = replace(draft.run, stopped=reason, stopped_message=text)


def delete_stopped(draft: Draft) -> None:
    """A stop intent reaches its Pod, again after a crash if need be.

    The end of a whole run comes as the answer to a trainer's next result, without a signal; only
    a trainer that has nothing to save yet, or an experiment that is deleted, needs one.
    """
    deleting = draft.experiment.deleted is not None
    for trial in () if draft.late else draft.open:  # then all are released, which deletes as well
        pod = draft.o.pod_of(trial)
        if pod is None or pod.deleted is not None or pod.terminal:
            continue
        asked = trial.stop_intent is StopIntent.STOP and pod.trainer.started
        waits = asked and not draft.o.evidence(trial).hung  # who reports nothing hears nothing
        if deleting or (trial.stop_intent and not waits):
            draft.actions.append(DeletePod(pod.namespace, pod.name, pod.uid))


def left(trial: TrialState) -> TrialState:
    """Closed without an outcome."""
    return replace(trial, open=False, phase=Phase.PENDING, pod_uid="", stop_intent=StopIntent.NONE)
