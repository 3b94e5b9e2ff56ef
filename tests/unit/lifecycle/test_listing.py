"""Which trials the status lists, at any number of them, and that it stays bounded."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lifecycle.builders import NOW, UID, idle, observation, trial
from tune_operator.api.status import MAX_LISTED_TRIALS, MAX_RANGES, TuneExperimentStatus
from tune_operator.lifecycle import status
from tune_operator.lifecycle.conditions import Finding, Findings, conditions
from tune_operator.lifecycle.listing import PARAMS_LIMIT, TRIALS_LIMIT, listed
from tune_operator.lifecycle.status import RunFacts
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Interruption,
    Phase,
    RunState,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, trial_name

KEYS = RunKeys.of("team-a", "team-a", "digits", UID)
BIG = {"text": "x" * (PARAMS_LIMIT - 64)}


def terminated(index: int, **fields: Any) -> TrialState:
    return idle(index, phase=Phase.TERMINATED, **fields)


def errored(index: int) -> TrialState:
    return idle(index, phase=Phase.ERRORED)


def size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def names(made: dict[str, Any]) -> list[int]:
    return [int(row["name"]) for row in made["trials"]]


def numbers(made: dict[str, Any], end: str) -> list[int]:
    """The indices of a range, spelled out."""
    found: list[int] = []
    for span in filter(None, made.get("finished", {}).get(end, "").split(",")):
        first, _, last = span.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def whole(*trials: TrialState, **findings: Any) -> dict[str, Any]:
    """The whole status as JSON has it; it is what the schema allows."""
    state = RunState(trials, started=NOW)
    look = observation(*trials, total=len(trials))
    found = conditions(state, len(trials), Findings(**findings), (), deleting=False)
    made = status.render(look, state, RunFacts(UID, 9, "s3://tune/x", "tune", KEYS), found, {})
    as_json = json.dumps(made, allow_nan=False)
    TuneExperimentStatus.model_validate_json(as_json)
    return dict(json.loads(as_json))


# --- who is listed --------------------------------------------------------------------------


def test_no_trial() -> None:
    assert listed([], None) == {"trials": []}


def test_all_are_listed_while_they_fit() -> None:
    made = listed([terminated(i) for i in range(MAX_LISTED_TRIALS)], None)
    assert names(made) == list(range(MAX_LISTED_TRIALS))
    assert "finished" not in made


def test_of_one_too_many_the_oldest_finished_one_goes() -> None:
    trials = [trial(0), *(terminated(i) for i in range(1, MAX_LISTED_TRIALS + 1))]
    made = listed(trials, None)
    assert names(made) == [0, *range(2, MAX_LISTED_TRIALS + 1)]
    assert made["finished"] == {"terminated": "1"}


def test_of_ten_thousand_those_that_people_ask_for() -> None:
    """Who runs, the best, who errored last, who waits, and the newest of the others."""
    trials = [terminated(i) for i in range(10_000)]
    for index in range(0, 5000, 50):
        trials[index] = errored(index)
    trials[7] = idle(7)
    for index in range(9000, 9100):
        trials[index] = trial(index)
    made = listed(trials, trials[1])
    errors = set(range(0, 5000, 50))
    running = set(range(9000, 9100))
    chosen = {1, 7} | errors | running
    newest = set(range(10_000 - (MAX_LISTED_TRIALS - len(chosen)), 10_000))
    assert names(made) == sorted(chosen | newest)
    assert numbers(made, "terminated") == sorted(set(range(10_000)) - set(names(made)))
    assert "errored" not in made["finished"]


def test_of_many_errors_the_last_are_listed() -> None:
    made = listed([errored(i) for i in range(1000)], None)
    assert names(made) == list(range(1000 - MAX_LISTED_TRIALS, 1000))
    assert made["finished"] == {"errored": f"0-{999 - MAX_LISTED_TRIALS}"}


def test_more_than_fit_may_run() -> None:
    """Those that found no place are in ``live``, and in no range."""
    made = whole(*(trial(i, pod_uid=UID) for i in range(1000)))
    assert names(made) == list(range(MAX_LISTED_TRIALS))
    assert len(made["live"]) == 1000
    assert "finished" not in made


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        pytest.param("TTTEET", {"terminated": "0-2,5", "errored": "3-4"}, id="ranges"),
        pytest.param("TETE", {"terminated": "0,2", "errored": "1,3"}, id="single ones"),
        pytest.param("TT.T", {"terminated": "0-1,3"}, id="one is not finished"),
        pytest.param("EE", {"errored": "0-1"}, id="two are a range"),
    ],
)
def test_ranges(ends: str, expected: dict[str, str]) -> None:
    make = {"T": terminated, "E": errored, ".": idle}
    trials = [make[end](index) for index, end in enumerate(ends)]
    front = len(trials)
    rest = [trial(front + i) for i in range(MAX_LISTED_TRIALS)]
    assert listed([*trials, *rest], None)["finished"] == expected


def test_ranges_that_grow_too_long_are_dropped() -> None:
    trials = [terminated(i) if i % 2 else idle(i) for i in range(10_000)]
    assert "finished" not in listed(trials, None)


# --- size -----------------------------------------------------------------------------------


def worst(index: int, *, phase: Phase) -> TrialState:
    """A trial that says as much as it can, in text that takes as many bytes as it can."""
    why = Interruption(
        "interrupted",
        "R" * 999,
        "\u754c" * 1024,
        row=16,
        attempt=99999,
        iteration=10**10 - 1,
        time=NOW,
        exit_code=137,
        node="n" * 253,
    )
    return TrialState(
        trial_name(index),
        phase=phase,
        reason="R" * 999,
        attempt=99999,
        open=phase is Phase.RUNNING,
        pod_uid=UID if phase is Phase.RUNNING else "",
        stop_intent=StopIntent.START_ERROR if phase is Phase.RUNNING else StopIntent.NONE,
        node="n" * 253,
        iteration=10**10 - 1,
        objective=-1.2345678901234567e-100,
        seq=10**10 - 1,
        checkpoint=Checkpoint(CheckpointRef(99999, 10**10 - 1), NOW),
        plan=tuple(CheckpointRef(99999 - i, 10**10 - 1) for i in range(4)),
        failures=1000,
        disruptions=1000,
        infrastructure=1000,
        streak=1000,
        interruption=why,
        config=BIG,
        started=NOW,
        ended=None if phase is Phase.RUNNING else NOW,
    )


@pytest.mark.parametrize("count", [200, MAX_LISTED_TRIALS, 257, 3000])
@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.TERMINATED, Phase.ERRORED])
def test_trials_at_their_worst_stay_below_the_bound(phase: Phase, count: int) -> None:
    made = whole(*(worst(i, phase=phase) for i in range(count)))
    assert size(made["trials"]) <= TRIALS_LIMIT
    assert len(made["trials"]) > 150
    assert size(made) < 256 * 1024


def test_everything_at_its_worst_stays_below_the_bound() -> None:
    running = [worst(i, phase=Phase.RUNNING) for i in range(1000)]
    over = [worst(1000 + i, phase=(Phase.ERRORED, Phase.TERMINATED)[i % 2]) for i in range(6000)]
    long = Finding(ok=False, reason="Unreachable", message="\u754c" * 2000)
    made = whole(
        *running,
        *over,
        accepted=long,
        storage=long,
        name_conflict="\u754c" * 2000,
        quota="\u754c" * 2000,
    )
    assert size(made["trials"]) <= TRIALS_LIMIT
    assert len(made["live"]) == 1000
    assert all(len(text) <= MAX_RANGES for text in made.get("finished", {}).values())
    assert set(made["finished"]) == {"terminated", "errored"}
    assert size(made) < 256 * 1024


def test_big_parameters_keep_to_the_limit_of_rows() -> None:
    rows = [trial(i, objective=0.5, node="node-1", config=BIG) for i in range(100)]
    rows += [terminated(i, objective=0.5, config=BIG) for i in range(100, 200)]
    made = whole(*rows)
    assert len(made["trials"]) == 200
    assert size(made["trials"]) <= TRIALS_LIMIT
    assert all(("params" in row) != row.get("truncated", False) for row in made["trials"])
    finished = [row for row in made["trials"] if row["state"] == "Terminated"]
    assert all(row["truncated"] for row in finished[1:]), "what runs is shown before what is over"
    assert any("params" in row for row in made["trials"])


def test_a_shortened_row_still_counts() -> None:
    rows = [worst(i, phase=Phase.PENDING) for i in range(200)]
    back = {each.name: each for each in status.read(whole(*rows)).trials if each.attempt}
    assert len(back) > 150
    for before in rows:
        after = back.get(before.name)
        if after is None:
            continue
        why, said = before.interruption, after.interruption
        assert why is not None
        assert said is not None
        assert (said.cls, said.attempt, said.time) == (why.cls, why.attempt, why.time)
        for name in ("phase", "attempt", "failures", "disruptions", "infrastructure"):
            assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize(("length", "shown"), [(PARAMS_LIMIT - 16, True), (PARAMS_LIMIT, False)])
def test_parameters_are_shown_whole_or_not_at_all(length: int, shown: bool) -> None:
    made = whole(trial(objective=1.0, config={"p": "x" * length}))
    for entry, name in ((made["trials"][0], "params"), (made["best"], "config")):
        assert (name in entry) is shown
        assert entry.get("truncated", False) is not shown


# --- nobody is forgotten --------------------------------------------------------------------

KINDS = (
    trial(),
    idle(),
    idle(phase=Phase.TERMINATED),
    idle(phase=Phase.ERRORED),
    worst(0, phase=Phase.ERRORED),
    worst(0, phase=Phase.TERMINATED),
    idle(phase=Phase.TERMINATED, config=BIG),
)


@st.composite
def tables(draw: st.DrawFn) -> Sequence[TrialState]:
    """Stretches of like trials, up to several hundreds."""
    stretches = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 150)), max_size=8))
    kinds = [kind for kind, length in stretches for _ in range(length)]
    return [replace(kind, name=trial_name(index)) for index, kind in enumerate(kinds)]


@given(tables())
@settings(max_examples=60, deadline=None)
def test_every_trial_is_listed_or_in_a_range_or_not_finished(trials: Sequence[TrialState]) -> None:
    made = listed(trials, None)
    rows = names(made)
    assert rows == sorted(set(rows)), "in order, each once"
    assert len(rows) <= MAX_LISTED_TRIALS
    assert size(made["trials"]) <= TRIALS_LIMIT
    for end, phase in (("terminated", Phase.TERMINATED), ("errored", Phase.ERRORED)):
        left = [t.index for t in trials if t.phase is phase and t.index not in rows]
        assert numbers(made, end) == left
    least = min((t for t in trials if t.index in rows), key=_importance, default=None)
    for each in trials:
        if each.index not in rows and least is not None:
            assert _importance(each) <= _importance(least), "who matters more has its place"


def _importance(each: TrialState) -> int:
    if each.open:
        return 3
    return {Phase.ERRORED: 2, Phase.PENDING: 1}.get(each.phase, 0)
