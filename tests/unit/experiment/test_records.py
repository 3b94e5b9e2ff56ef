"""Records of the journal: whatever happened to a run is read back exactly."""

import json
import math
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.experiment import states
from tests.unit.experiment.states import runs, steps
from tune_operator.experiment import records
from tune_operator.experiment.records import BadRecord, Record
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Interruption,
    Phase,
    RunState,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.fields import dump
from tune_trainer.protocol.keys import CheckpointRef, SegmentRef
from tune_trainer.protocol.result import Result

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
ONE = TrialState("00000", attempt=1, open=True)


def stored(found: list[Record]) -> list[Record]:
    """The records as they come back from the store."""
    return [json.loads(dump(record)) for record in found]


def types(found: list[Record]) -> list[str]:
    return [record["type"] for record in found]


def run(*trials: TrialState) -> RunState:
    return RunState(trials=trials)


class TestFidelity:
    @settings(max_examples=50)
    @given(steps())
    def test_folding_the_changes_into_before_gives_after(
        self, step: tuple[RunState, RunState, dict[str, list[Result]]]
    ) -> None:
        before, after, results = step
        found = stored(records.changes(before, after, results))
        # By text: a NaN is not equal to itself.
        assert repr(records.fold_all(before, found)) == repr(after)

    @settings(max_examples=50)
    @given(steps())
    def test_a_record_that_is_read_twice_changes_nothing(
        self, step: tuple[RunState, RunState, dict[str, list[Result]]]
    ) -> None:
        state, after, results = step
        for record in records.changes(state, after, results):
            state = records.fold(state, record)
            assert repr(records.fold(state, record)) == repr(state)

    @settings(max_examples=50)
    @given(runs())
    def test_nothing_changed_is_no_record(self, state: RunState) -> None:
        again = records.fold_all(RunState(), stored(records.changes(RunState(), state)))
        assert records.changes(state, again) == []

    @settings(max_examples=50)
    @given(steps())
    def test_all_results_are_there_once_in_order(
        self, step: tuple[RunState, RunState, dict[str, list[Result]]]
    ) -> None:
        before, after, results = step
        found: dict[str, list[Any]] = {}
        for record in stored(records.changes(before, after, results)):
            if record["type"] == "results":
                found.setdefault(record["trial"], []).extend(record["results"])
        for name, given_results in results.items():
            read = [Result.from_json(each, "r") for each in found.get(name, [])]
            assert repr(read) == repr(given_results)

    def test_the_strategies_draw_every_field(self) -> None:
        """A field that is added and not drawn would silently not be proven."""
        assert {field.name for field in fields(TrialState)} == {"name", *states.TRIAL}
        # A specification goes by a record of its own.
        drawn = {"trials", "specification", *states.RUN}
        assert {field.name for field in fields(RunState)} == drawn

    @pytest.mark.parametrize("objective", [None, 0.0, -1.5, math.inf, -math.inf, math.nan])
    def test_an_objective_of_nothing_is_not_one_of_zero(self, objective: float | None) -> None:
        after = run(replace(ONE, objective=objective))
        found = stored(records.changes(run(replace(ONE, objective=7.0)), after))
        assert repr(records.fold_all(run(ONE), found)) == repr(after)

    def test_a_nan_that_stays_is_no_change(self) -> None:
        one, other = replace(ONE, objective=math.nan), replace(ONE, objective=float("nan"))
        assert records.changes(run(one), run(other)) == []

    def test_a_nan_in_a_configuration_that_stays_is_no_change(self) -> None:
        one, other = replace(ONE, config={"x": math.nan}), replace(ONE, config={"x": float("nan")})
        assert records.changes(run(one), run(other)) == []

    def test_a_nan_in_a_result_keeps_its_text(self) -> None:
        result = Result(1, {"loss": math.nan, "training_iteration": 1})
        (found,) = stored(records.changes(run(ONE), run(replace(ONE, seq=1)), {"00000": [result]}))
        assert found["results"] == [
            {
                "seq": 1,
                "metrics": {"loss": None, "training_iteration": 1},
                "nonFinite": {"/loss": "NaN"},
            }
        ]


class TestForReaders:
    @pytest.mark.parametrize(
        ("before", "after", "what"),
        [
            (None, TrialState("00000"), "created"),
            (TrialState("00000"), ONE, "started"),
            (ONE, replace(ONE, pod_uid="u"), "bound"),
            (ONE, replace(ONE, stop_intent=StopIntent.STOP), "stopping"),
            (ONE, replace(ONE, open=False, phase=Phase.TERMINATED), "settled"),
            (ONE, replace(ONE, attempt=2), "replaced"),
            (ONE, replace(ONE, node="n"), "changed"),
        ],
    )
    def test_what_happened(self, before: TrialState | None, after: TrialState, what: str) -> None:
        known = run() if before is None else run(before)
        (found,) = records.changes(known, run(after))
        assert (found["type"], found["what"]) == ("trial", what)

    def test_a_trial_row_is_short_and_its_names_are_those_of_the_status(self) -> None:
        trial = replace(ONE, config={"lr": 0.1}, started=NOW, pod_uid="u")
        (found,) = records.changes(run(), run(trial))
        assert found == {
            "type": "trial",
            "what": "created",
            "trial": "00000",
            "state": "Pending",
            "attempt": 1,
            "open": True,
            "podUID": "u",
            "startTime": "2026-01-31T12:00:00.123456+00:00",
            "config": {"metrics": {"lr": 0.1}},
        }

    def test_the_configuration_is_written_once(self) -> None:
        trial = replace(ONE, config={"lr": 0.1})
        (found,) = records.changes(run(trial), run(replace(trial, pod_uid="u")))
        assert "config" not in found
        assert records.fold(run(trial), found).trials[0].config == {"lr": 0.1}


class TestOrder:
    def test_progress_alone_writes_no_row(self) -> None:
        checkpoint = Checkpoint(CheckpointRef(1, 5), NOW)
        after = replace(ONE, iteration=5, seq=5, objective=0.5, checkpoint=checkpoint)
        assert types(records.changes(run(ONE), run(after))) == ["results"]

    def test_results_come_before_what_was_made_of_them(self) -> None:
        after = replace(ONE, attempt=2, iteration=1, seq=0)
        found = records.changes(run(ONE), run(after), {"00000": [Result(4, {})]})
        assert types(found) == ["results", "trial"]
        assert (found[0]["attempt"], found[0]["seq"]) == (1, 4)

    def test_many_results_become_several_records_that_each_stand_for_themselves(self) -> None:
        results = [Result(seq, {"training_iteration": seq}) for seq in range(1, 41)]
        after = run(replace(ONE, seq=40, iteration=40))
        found = records.changes(run(ONE), after, {"00000": results})
        assert [record["seq"] for record in found] == [16, 32, 40]
        state = records.fold(run(ONE), found[0])
        assert state.trials[0].seq == 16  # what is not written yet is not taken for received

    def test_the_run_comes_last(self) -> None:
        after = replace(run(ONE), ended=NOW, released=True)
        found = records.changes(run(), after)
        assert types(found) == ["trial", "run"]
        assert set(found[1]) == {"type", "ended", "released"}

    def test_an_unchanged_trial_is_not_even_compared(self) -> None:
        trials = tuple(replace(ONE, name=f"{n:05d}") for n in range(3))
        after = (*trials[:2], replace(trials[2], pod_uid="u"))
        (found,) = records.changes(RunState(trials=trials), RunState(trials=after))
        assert found["trial"] == "00002"


class TestSpecification:
    def test_it_sets_what_is_in_force(self) -> None:
        record = records.specification(3, {"numSamples": 4})
        assert record == {"type": "spec", "generation": 3, "spec": {"numSamples": 4}}
        assert records.fold(RunState(), record) == RunState(
            generation=3, specification={"numSamples": 4}
        )


class TestOpened:
    @pytest.mark.parametrize("after", [None, SegmentRef(3, "ab", 9)])
    def test_it_names_the_last_segment_that_counts(self, after: SegmentRef | None) -> None:
        (record,) = stored([records.opened(after)])
        assert records.opened_after(record) == after

    @pytest.mark.parametrize(
        "damage",
        [{"version": 2}, {"version": None}, {"type": "trial"}, {"after": "x"}, {"after": 3}],
    )
    def test_another_version_or_a_damaged_one_is_refused(self, damage: dict[str, Any]) -> None:
        with pytest.raises(BadRecord):
            records.opened_after({**records.opened(None), **damage})

    def test_it_changes_nothing(self) -> None:
        assert records.fold(run(ONE), records.opened(None)) == run(ONE)


ROW = {"type": "trial", "trial": "00000", "state": "Pending", "config": {"metrics": {}}}
RESULTS = {"type": "results", "trial": "00000", "attempt": 1, "seq": 1, "results": []}


class TestOtherVersions:
    @pytest.mark.parametrize("record", [ROW, RESULTS, {"type": "run", "released": True}])
    def test_keys_of_the_same_version_that_are_unknown_are_kept_quiet(self, record: Any) -> None:
        extra = {"later": {"any": "thing"}}
        assert records.fold(run(ONE), {**record, **extra}) == records.fold(run(ONE), record)

    @pytest.mark.parametrize(
        "record",
        [
            {"type": "decision"},
            {},
            {"type": ["run"]},
            {**ROW, "state": "Paused"},
            {**ROW, "stopIntent": "pause"},
            {**ROW, "attempt": "1"},
            {**ROW, "attempt": True},
            {**ROW, "trial": "00002"},
            {**ROW, "trial": "0"},
            {**ROW, "trial": "-0001"},
            {**ROW, "startTime": "2026-01-31T12:00:00"},
            {**ROW, "startTime": 5},
            {**ROW, "checkpoint": {"ref": "1-2"}},
            {**ROW, "plan": ["x"]},
            {**ROW, "plan": 5},
            {**ROW, "avoid": [{}]},
            {**ROW, "lastInterruption": {}},
            {**ROW, "lastInterruption": "x"},
            {**ROW, "objective": "1"},
            {**ROW, "objective": 10**400},
            {**ROW, "objectiveText": "nan"},
            {**ROW, "config": 5},
            {"type": "trial", "trial": "00001", "state": "Pending"},
            {**RESULTS, "trial": "00009"},
            {**RESULTS, "seq": None},
            {**RESULTS, "iteration": 1},
            {"type": "run", "released": "yes"},
            {"type": "run", "lostIterations": 1.5},
            {"type": "run", "ended": {}},
            {"type": "spec", "generation": 1},
            {"type": "opened", "version": 99},
        ],
        ids=lambda record: dump(record).decode()[:60],
    )
    def test_what_cannot_be_read_is_refused_and_never_guessed(self, record: Any) -> None:
        with pytest.raises(BadRecord):
            records.fold(run(ONE), record)

    @given(st.dictionaries(st.sampled_from(["type", *ROW, *RESULTS]), st.text() | st.integers()))
    def test_nothing_but_a_bad_record_is_ever_raised(self, record: dict[str, Any]) -> None:
        with suppress(BadRecord):
            records.fold(run(ONE), record)


def test_an_interruption_is_kept_whole() -> None:
    why = Interruption("Preempted", "r" * 500, "m" * 5000, 8, 1, 2, NOW, exit_code=0, node="n")
    after = run(replace(ONE, interruption=why))
    assert records.fold_all(run(), stored(records.changes(run(), after))) == after


class TestForgery:
    """A bucket is its owner's: what he writes there must stay within what we could have written."""

    @pytest.mark.parametrize(
        "forged",
        [
            pytest.param({"attempt": -1}, id="a negative attempt"),
            pytest.param({"attempt": 10**30}, id="an attempt that no key has room for"),
            pytest.param({"failures": 10**30}, id="more failures than can be shown"),
            pytest.param({"podUID": "x" * 5000}, id="an endless UID"),
        ],
    )
    def test_a_row_that_could_not_be_shown_is_refused(self, forged: Record) -> None:
        row = {"type": "trial", "trial": "00000", "state": "Pending", "config": {"metrics": {}}}
        assert records.fold(RunState(), row).trials
        with pytest.raises(BadRecord):
            records.fold(RunState(), {**row, **forged})
