"""The status is a rendering for people, and all there is for who cannot open the journal."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lifecycle.builders import NOW, UID, at, experiment, idle, observation, refs, trial
from tune_operator.api.status import TuneExperimentStatus
from tune_operator.lifecycle import status
from tune_operator.lifecycle.conditions import Findings, conditions
from tune_operator.lifecycle.status import RunFacts
from tune_operator.lifecycle.trial_rows import MESSAGE_LIMIT, REASON_LIMIT
from tune_operator.lifecycle.trial_state import (
    Avoided,
    Checkpoint,
    Interruption,
    Phase,
    RunState,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, trial_name

KEYS = RunKeys.of("team-a", "team-a", "digits", UID)
URI = f"s3://tune/{KEYS.root}"


FACTS = RunFacts(UID, 7, URI, "tune", KEYS)


def render(
    *trials: TrialState,
    mode: str = "max",
    total: int = 4,
    deleted: datetime | None = None,
    suspend: bool = False,
    **run: Any,
) -> dict[str, Any]:
    of = experiment(
        objective={"metric": "accuracy", "mode": mode}, deleted=deleted, suspend=suspend
    )
    state = RunState(trials, started=at(-300), **run)
    look = observation(*trials, of=of, total=total)
    made = status.render(look, state, FACTS, [], {})
    as_json = json.dumps(made, allow_nan=False)
    TuneExperimentStatus.model_validate_json(as_json)
    return dict(json.loads(as_json))


def read(made: Mapping[str, Any]) -> tuple[TrialState, ...]:
    return status.read(made).trials


# --- the round trip -------------------------------------------------------------------------

seconds = st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1)).map(  # noqa: DTZ001
    lambda naive: naive.replace(microsecond=0, tzinfo=NOW.tzinfo)
)
counts = st.integers(0, 2**53)
words = st.text(max_size=REASON_LIMIT)
checkpoints = st.builds(CheckpointRef, st.integers(1, 99999), st.integers(0, 10**10 - 1))
interruptions = st.builds(
    Interruption,
    cls=st.sampled_from(["failed", "preempted", "lost", "rejected", "interrupted", "not started"]),
    reason=words,
    message=st.text(max_size=MESSAGE_LIMIT),
    row=st.integers(0, 24),
    attempt=counts,
    iteration=counts,
    time=seconds,
    exit_code=st.none() | st.integers(0, 255),
    node=words,
)


@st.composite
def trials(draw: st.DrawFn, index: int) -> TrialState:
    is_open = draw(st.booleans())
    return TrialState(
        name=trial_name(index),
        phase=draw(st.sampled_from(Phase)),
        reason=draw(words),
        attempt=draw(st.integers(1, 99999)),
        open=is_open,
        pod_uid=draw(st.sampled_from(["", UID])) if is_open else "",
        stop_intent=draw(st.sampled_from(StopIntent)) if is_open else StopIntent.NONE,
        node=draw(words),
        iteration=draw(counts),
        objective=draw(st.none() | st.floats(allow_nan=False)),
        seq=draw(counts),
        checkpoint=draw(st.none() | st.builds(Checkpoint, checkpoints, seconds)),
        plan=draw(st.lists(checkpoints, max_size=4).map(tuple)),
        failures=draw(counts),
        disruptions=draw(counts),
        infrastructure=draw(counts),
        streak=draw(counts),
        config=draw(st.dictionaries(st.sampled_from(["lr", "act"]), st.integers(), max_size=2)),
        avoid=draw(st.lists(st.builds(Avoided, words, seconds), max_size=3).map(tuple)),
        interruption=draw(st.none() | interruptions),
        started=draw(st.none() | seconds),
        ended=draw(st.none() | seconds),
    )


@st.composite
def states(draw: st.DrawFn) -> RunState:
    size = draw(st.integers(0, 4))
    return RunState(
        trials=tuple(draw(trials(index)) for index in range(size)),
        lost_iterations=draw(counts),
        started=draw(st.none() | seconds),
        ended=draw(st.none() | seconds),
    )


def shown(state: RunState) -> RunState:
    """What the status tells of it; the journal has the rest."""
    unknown: dict[str, Any] = {"seq": 0, "plan": (), "streak": 0, "avoid": (), "config": {}}
    return replace(state, trials=tuple(replace(each, **unknown) for each in state.trials))


@given(states())
@settings(max_examples=100, deadline=None)
def test_what_was_written_is_read_again(state: RunState) -> None:
    look = replace(observation(), state=state)
    made = status.render(look, state, FACTS, [], {})
    as_json = json.dumps(made, allow_nan=False)
    assert status.read(json.loads(as_json)) == shown(state)
    TuneExperimentStatus.model_validate_json(as_json)


@given(states())
@settings(max_examples=50, deadline=None)
def test_who_cannot_open_the_journal_leaves_it_as_it_is(state: RunState) -> None:
    """Else a restarted operator would write although nothing happened."""
    first = status.render(replace(observation(), state=state), state, FACTS, [], {})
    look = replace(observation(), state=status.read(first))
    assert status.outline(look, [], first) == first


@pytest.mark.parametrize("reason", ["FailFast", "MaxFailedTrials", "FailExperiment"])
def test_who_cannot_open_the_journal_knows_why_the_run_is_being_ended(reason: str) -> None:
    state = RunState((trial(),), stopped=reason, stopped_message="2 errored; the last was x")
    look = replace(observation(), state=state)
    current = conditions(state, 4, Findings(), (), deleting=False)
    first = status.render(look, state, FACTS, current, {})
    back = status.read(first)
    assert (back.stopped, back.stopped_message) == (reason, "2 errored; the last was x")
    again = conditions(back, 4, Findings(), (), deleting=False)
    assert status.outline(replace(look, state=back), again, first) == first


def test_a_deletion_is_no_end_of_the_run() -> None:
    state = RunState((trial(),))
    current = conditions(state, 4, Findings(), (), deleting=True)
    made = status.render(observation(trial()), state, FACTS, current, {})
    assert status.read(made).stopped == ""


def test_open_attempts_are_known_even_if_their_rows_were_dropped() -> None:
    entries = {"00002": "3/u/suspend"}
    first, second, third = status.read({"trials": [], "live": entries}).trials
    assert (first, second) == (TrialState("00000"), TrialState("00001"))
    assert (third.attempt, third.open, third.pod_uid) == (3, True, "u")
    assert third.stop_intent is StopIntent.SUSPEND


def test_the_outline_keeps_what_was_shown() -> None:
    before = render(idle(0, phase=Phase.TERMINATED, objective=0.5), trial(1), lost_iterations=9)
    look = replace(observation(of=experiment(deleted=NOW)), state=status.read(before))
    made = status.outline(look, [], before)
    assert made == {**before, "state": "Stopping"}


@pytest.mark.parametrize(("given", "term"), [({}, 0), ({"journal": {"term": 4}}, 4)])
def test_the_newest_term(given: Mapping[str, Any], term: int) -> None:
    assert status.term(given) == term


def test_an_empty_status_is_an_empty_state() -> None:
    assert status.read({}) == RunState()


def test_nan_comes_back_as_nan() -> None:
    made = render(trial(objective=math.nan))
    assert made["trials"][0]["objectiveValueText"] == "NaN"
    value = read(made)[0].objective
    assert value is not None
    assert math.isnan(value)


def test_what_is_lost_is_what_the_documentation_says() -> None:
    why = Interruption("failed", "R" * 999, "m" * 999, row=16, attempt=1, iteration=0, time=at(0.7))
    back = read(render(idle(interruption=why, reason="R" * 999)))[0]
    assert back.interruption == replace(why, reason="R" * 64, message="m" * 256, time=NOW)
    assert back.reason == "R" * 64


@pytest.mark.parametrize("absurd", [-5, 10**30])
def test_absurd_numbers_of_a_trainer_do_not_wedge_the_object(absurd: int) -> None:
    back = read(render(trial(iteration=absurd)))[0]
    assert back.iteration == max(0, min(absurd, 2**53))


# --- what people read -----------------------------------------------------------------------


def test_sums() -> None:
    made = render(
        idle(0, phase=Phase.TERMINATED, disruptions=2),
        idle(1, phase=Phase.ERRORED, failures=4),
        trial(2, failures=1, infrastructure=7),
        idle(3),
        total=6,
    )
    assert made["counts"] == {
        "total": 6,
        "pending": 3,
        "running": 1,
        "paused": 0,
        "terminated": 1,
        "errored": 1,
    }
    assert (made["done"], made["failures"], made["disruptions"]) == ("2/6", 5, 2)
    assert made["infrastructure"] == 7
    assert made["live"] == {"00002": "1/pod-1/"}
    assert made["storage"] == {"uri": URI}
    assert (made["runID"], made["journal"]) == (UID, {"term": 7})


@pytest.mark.parametrize(
    ("total", "ended", "done"),
    [
        pytest.param(1, None, "2/3", id="lowered: none is taken back"),
        pytest.param(9, NOW, "2/3", id="raised after the end: none is added"),
        pytest.param(9, None, "2/9", id="raised before it"),
    ],
)
def test_sums_when_the_number_of_samples_changes(
    total: int, ended: datetime | None, done: str
) -> None:
    finished = [idle(i, phase=Phase.TERMINATED) for i in range(2)]
    made = render(*finished, idle(2), total=total, ended=ended)
    assert made["done"] == done
    assert min(made["counts"].values()) >= 0


@pytest.mark.parametrize(
    ("given", "word"),
    [
        pytest.param(render, "Pending", id="nothing started"),
        pytest.param(lambda: render(trial()), "Running", id="running"),
        pytest.param(lambda: render(trial(), deleted=NOW), "Stopping", id="deleted"),
        pytest.param(
            lambda: render(idle(phase=Phase.TERMINATED), ended=NOW), "Complete", id="ended"
        ),
        pytest.param(lambda: render(idle(phase=Phase.ERRORED), ended=NOW), "Failed", id="failed"),
        pytest.param(lambda: render(trial(), stopped="FailFast"), "Stopping", id="being ended"),
        pytest.param(
            lambda: render(idle(phase=Phase.TERMINATED), stopped="FailFast", ended=NOW),
            "Failed",
            id="ended for its errors",
        ),
        pytest.param(lambda: render(trial(), suspend=True), "Suspending", id="suspending"),
        pytest.param(lambda: render(idle(), suspend=True), "Suspended", id="suspended"),
        pytest.param(lambda: render(suspend=True), "Suspended", id="suspended from the start"),
        pytest.param(
            lambda: render(trial(), suspend=True, deleted=NOW), "Stopping", id="suspended, deleted"
        ),
        pytest.param(
            lambda: render(idle(phase=Phase.TERMINATED), suspend=True, ended=NOW),
            "Complete",
            id="suspended and complete",
        ),
    ],
)
def test_the_state_in_one_word(given: Any, word: str) -> None:
    assert given()["state"] == word


def test_a_row_is_short_where_nothing_happened() -> None:
    made = render(trial(started=NOW, config={"lr": 0.0}))["trials"]
    assert made == [
        {
            "name": "00000",
            "state": "Running",
            "attempt": 1,
            "startTime": "2026-03-01T12:00:00Z",
            "params": {"lr": 0.0},
        }
    ]


def test_an_exit_code_of_0_is_shown() -> None:
    why = Interruption("preempted", "X", "", row=8, attempt=1, iteration=3, time=NOW, exit_code=0)
    assert render(idle(interruption=why))["trials"][0]["lastInterruption"]["exitCode"] == 0


# --- the best trial -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        pytest.param("max", [0.1, 0.9, 0.5], "00001", id="max"),
        pytest.param("min", [0.3, 0.9, 0.1], "00002", id="min"),
        pytest.param("max", [0.5, 0.5, 0.5], "00000", id="of equals the earliest"),
        pytest.param("max", [math.nan, 0.1, None], "00001", id="NaN and missing are worse"),
        pytest.param("min", [math.nan, 9.0, -math.inf], "00001", id="min: infinities are no value"),
        pytest.param("max", [math.inf, 9.0, math.nan], "00001", id="max: infinities are no value"),
        pytest.param("min", [-0.0, 0.0], "00000", id="zeros are equal"),
        pytest.param("max", [-3.0, -2.0], "00001", id="negative"),
        pytest.param("max", [None, math.nan, math.inf], None, id="nobody has a value"),
        pytest.param("max", [], None, id="nobody ran"),
    ],
)
def test_best(mode: str, values: list[float | None], best: str | None) -> None:
    made = render(*(trial(i, objective=v) for i, v in enumerate(values)), mode=mode)
    assert made.get("best", {}).get("trial") == best


def test_the_best_trial_with_its_checkpoint() -> None:
    entry = idle(
        3,
        objective=0.97,
        iteration=93,
        config={"lr": 0.375},
        checkpoint=Checkpoint(refs("2-90")[0], NOW),
    )
    made = render(idle(0), idle(1), idle(2), entry)
    assert made["best"] == {
        "trial": "00003",
        "objectiveValue": 0.97,
        "iteration": 93,
        "config": {"lr": 0.375},
        "checkpoint": {
            "uri": f"{URI}/t/00003/m/00002-0000000090.json",
            "iteration": 90,
            "attempt": 2,
            "time": "2026-03-01T12:00:00Z",
        },
    }
