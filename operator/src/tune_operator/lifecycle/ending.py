"""The end: of a run when all its trials are done, of a deleted object when nothing is left."""

from __future__ import annotations

from dataclasses import replace

from tune_operator.lifecycle.actions import RemoveExperimentFinalizer
from tune_operator.lifecycle.draft import Draft
from tune_operator.lifecycle.events import end_events, left_events, purge_events
from tune_operator.lifecycle.observation import Remains
from tune_operator.lifecycle.stopping import intent_for_all
from tune_operator.lifecycle.trial_state import EXPERIMENT_STOPPED, Phase


def finish(draft: Draft) -> None:
    """Close the run when it is over, and say whether it may be taken by somebody else."""
    if draft.experiment.deleted is None and draft.run.ended is None:
        _end(draft)
    if draft.o.may_record:
        resting = draft.run.ended is not None or bool(intent_for_all(draft))
        draft.run = replace(draft.run, released=resting and not draft.open)
    if draft.experiment.deleted is not None:
        _leave(draft)


def _end(draft: Draft) -> None:
    complete = 0 < draft.o.total <= len(draft.trials)
    if draft.run.stopped and not draft.open:
        for trial in [trial for trial in draft.trials if not trial.finished]:
            done = replace(trial, phase=Phase.TERMINATED, reason=EXPERIMENT_STOPPED)
            draft.put(replace(done, ended=draft.now))
    elif not complete or any(not trial.finished for trial in draft.trials):
        return
    draft.run = replace(draft.run, ended=draft.now)
    draft.events += end_events(draft.trials, draft.run)


def _leave(draft: Draft) -> None:
    """A released Pod still has to end: whoever waits for the object waits for its Pods too."""
    experiment = draft.experiment
    nothing = not draft.trials and not draft.o.pods  # ever ran
    over = draft.run.ended is not None or draft.o.remains is not Remains.ALL
    settled = (nothing or draft.o.may_record or over) and not draft.open
    deletes = experiment.spec.storage.deletion_policy == "Delete"
    stays = draft.o.remains is not Remains.NOTHING
    draft.purge = deletes and stays and settled and not draft.o.pods and not draft.late
    draft.gone = draft.late or (settled and not draft.o.pods and not draft.purge)
    if not draft.late and not draft.gone and experiment.deleted is not None:
        draft.look_again(experiment.deleted + experiment.stop_bound)
    if draft.gone and experiment.has_finalizer:
        if deletes:
            draft.events += purge_events(stays=stays, uri=draft.o.uri)
        elif any(not trial.finished for trial in draft.trials):
            draft.events += left_events(settled=settled, uri=draft.o.uri)
        draft.actions.append(
            RemoveExperimentFinalizer(experiment.namespace, experiment.name, experiment.uid)
        )
