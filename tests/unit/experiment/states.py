"""States of trials and runs as Hypothesis draws them: everything a record must carry."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tune_operator.lifecycle.trial_state import (
    Avoided,
    Checkpoint,
    Interruption,
    Phase,
    RunState,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.keys import CheckpointRef, trial_name
from tune_trainer.protocol.result import Result


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with sorted keys, as they come back from the store."""
    found = st.dictionaries(texts, values, max_size=2)
    return found.map(lambda entries: dict(sorted(entries.items())))


counts = st.integers(0, 10**9)
texts = st.text(max_size=8)
moments = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  # the zone is the strategy's own argument
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(fold=0))  # which means nothing in UTC
refs = st.builds(CheckpointRef, st.integers(0, 99999), counts)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=2) | _objects(inner),
    max_leaves=3,
)
configs = _objects(json_values)
interruptions = st.builds(
    Interruption,
    cls=texts,
    reason=texts,
    message=texts,
    row=counts,
    attempt=counts,
    iteration=counts,
    time=moments,
    exit_code=st.none() | st.integers(0, 255),
    node=texts,
)


TRIAL: dict[str, st.SearchStrategy[Any]] = {
    "phase": st.sampled_from(Phase),
    "reason": texts,
    "attempt": counts,
    "open": st.booleans(),
    "pod_uid": texts,
    "stop_intent": st.sampled_from(StopIntent),
    "node": texts,
    "iteration": counts,
    "objective": st.none() | st.floats(),
    "seq": counts,
    "checkpoint": st.none() | st.builds(Checkpoint, refs, moments),
    "plan": st.lists(refs, max_size=2).map(tuple),
    "failures": counts,
    "disruptions": counts,
    "infrastructure": counts,
    "streak": counts,
    "interruption": st.none() | interruptions,
    "avoid": st.lists(st.builds(Avoided, texts, moments), max_size=2).map(tuple),
    "config": configs,
    "started": st.none() | moments,
    "ended": st.none() | moments,
}
RUN: dict[str, st.SearchStrategy[Any]] = {
    "lost_iterations": counts,
    "started": st.none() | moments,
    "ended": st.none() | moments,
    "generation": counts,
    "stopped": texts,
    "stopped_message": texts,
    "released": st.booleans(),
}


def trials(index: int) -> st.SearchStrategy[TrialState]:
    """Any state of the trial with this index; nothing has to make sense."""
    return st.builds(TrialState, name=st.just(trial_name(index)), **TRIAL)


@st.composite
def runs(draw: st.DrawFn, before: RunState | None = None) -> RunState:
    """Any state of a run; after ``before``, if given: its trials may differ, none is gone."""
    known = before.trials if before else ()
    size = len(known) + draw(st.integers(0, 1 if before else 2))
    drawn = []
    for index in range(size):
        fresh = trials(index)
        if index < len(known):
            old = known[index]
            fresh = st.just(old) | st.builds(_progressed, st.just(old), fresh) | fresh
        drawn.append(draw(fresh))
    return RunState(trials=tuple(drawn), **{name: draw(some) for name, some in RUN.items()})


@st.composite
def steps(draw: st.DrawFn) -> tuple[RunState, RunState, dict[str, list[Result]]]:
    """A run before and after something, and the results that were taken in between."""
    before = draw(runs())
    after = draw(runs(before))
    some = st.lists(st.builds(Result, st.integers(1, 10**9), configs), max_size=3)
    names = [trial.name for trial in after.trials]
    return before, after, draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, some)))


def _progressed(old: TrialState, fresh: TrialState) -> TrialState:
    """The old one with the progress of the other: no lifecycle change."""
    return TrialState(
        **{
            **vars(old),
            **{name: getattr(fresh, name) for name in ("iteration", "objective", "seq")},
            "checkpoint": fresh.checkpoint,
        }
    )
