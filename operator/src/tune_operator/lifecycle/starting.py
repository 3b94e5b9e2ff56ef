"""Which trials start next, and the intent of their attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tune_operator.lifecycle.budget import backoff
from tune_operator.lifecycle.draft import Draft
from tune_operator.lifecycle.events import start_events
from tune_operator.lifecycle.trial_state import Phase, TrialState
from tune_trainer.protocol.keys import trial_name

FAR_AHEAD = 1000
"""Attempts of one trial that another owner may have begun without our knowing."""


def start(draft: Draft) -> None:
    """Fill free places with interrupted trials and new ones, as the scheduler chooses."""
    free = draft.spec.max_concurrent_trials - len(draft.open)
    waiting = {trial.name: trial for trial in draft.trials if _startable(draft, trial)}
    while free > 0:
        index = len(draft.trials)
        fresh = [trial_name(index)] if index < draft.o.total else []
        name = draft.o.choose_next([*waiting, *fresh])
        if name is None:
            return
        known = waiting.pop(name, None)
        _begin(draft, _created(draft, index) if known is None else known)
        free -= 1


def _created(draft: Draft, index: int) -> TrialState:
    return TrialState(trial_name(index), started=draft.now, config=draft.o.config(index))


def _startable(draft: Draft, trial: TrialState) -> bool:
    """Interrupted, and its pause is over."""
    if trial.finished or trial.open:
        return False
    ready = _ready_at(draft, trial)
    if ready > draft.now:
        draft.look_again(ready)
    return ready <= draft.now


def _ready_at(draft: Draft, trial: TrialState) -> datetime:
    # What was noted later than now was noted by a clock that is ahead of ours, perhaps by hours.
    if trial.interruption is None or trial.interruption.time > draft.now:
        return draft.now
    pause = draft.spec.failure.backoff
    return trial.interruption.time + backoff(trial, pause.initial_seconds, pause.max_seconds)


def _begin(draft: Draft, trial: TrialState) -> None:
    """Intent of the next attempt: one above anything that ever left a trace."""
    traces = [ref.attempt for ref in draft.o.committed.get(trial.name, ())]
    traces += [pod.attempt for pod in draft.o.pods_of(trial.name)]
    traces.append(draft.o.shown.get(trial.name, 0))
    # Labels are anybody's, and keys have no room for any number: no owner is ever so far ahead.
    traces = [attempt for attempt in traces if attempt <= trial.attempt + FAR_AHEAD]
    attempt = 1 + max([trial.attempt, *traces])
    begun = replace(
        trial,
        phase=Phase.RUNNING,
        reason="",
        attempt=attempt,
        open=True,
        pod_uid="",
        seq=0,
        node="",
        iteration=trial.plan[0].iteration if trial.plan else 0,
    )
    draft.put(begun)
    draft.starts.append((trial.name, attempt))
    draft.events += start_events(trial, begun)
