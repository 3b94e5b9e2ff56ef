"""ASHA decides as Ray Tune 2.60.0 does, but for the differences that are named here."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.oracle.sequences import asha_spec, history
from tune_operator.tuning.errors import MissingMetricError
from tune_operator.tuning.schedulers import Decision, Scheduler, build

RECORDED = Path(__file__).parents[2] / "oracle" / "asha.txt.gz"


def asha(mode: str = "max", *, strict: bool = True, **spec: Any) -> Scheduler:
    scheduler = build({"asha": spec}, metric="score", mode=mode, strict=strict)
    for index in range(9):
        scheduler.on_trial_add(f"{index:05}", {})
    return scheduler


def report(scheduler: Scheduler, trial: int, iteration: int, score: float) -> Decision:
    return scheduler.on_result(
        f"{trial:05}", {"training_iteration": iteration, "score": score, "loss": 1}
    )


def decisions(seed: int, *, reload_at: int | None = None) -> str:
    """The decisions on a recorded history, reloaded through JSON before one of its events."""
    spec, mode = asha_spec(seed)

    def new() -> Scheduler:
        return build({"asha": spec}, metric="score", mode=mode, strict=False, seed=seed)

    scheduler = new()
    answers = []
    for position, (kind, trial, result) in enumerate(history(seed)):
        if position == reload_at:
            state = json.loads(json.dumps(scheduler.state(), allow_nan=False))
            scheduler = new()
            scheduler.load(state)
        match kind:
            case "add":
                scheduler.on_trial_add(trial, {})
            case "error":
                scheduler.on_error(trial)
            case "complete":
                scheduler.on_complete(trial, result)
            case _:
                answers.append(scheduler.on_result(trial, result)[0])
    return "".join(answers)


def test_every_decision_is_that_of_ray() -> None:
    recorded = gzip.decompress(RECORDED.read_bytes()).decode().split("\n")
    assert len(recorded) >= 2000
    assert sum(line.count("S") for line in recorded) > len(recorded)
    for seed, line in enumerate(recorded):
        own = decisions(seed)
        masked = "".join(
            "-" if theirs == "-" else ours for ours, theirs in zip(own, line, strict=True)
        )
        assert masked == line, f"history {seed}"


@pytest.mark.parametrize("seed", range(40))
def test_a_state_saved_at_any_point_changes_no_decision(seed: int) -> None:
    assert decisions(seed, reload_at=seed * 60 // 40) == decisions(seed)


def test_the_reason_names_rung_cutoff_and_number_of_values() -> None:
    scheduler = asha(gracePeriod=4)
    for trial, score in enumerate([0.5, 0.6]):
        report(scheduler, trial, 4, score)
    assert report(scheduler, 2, 4, 0.25) is Decision.STOP
    assert scheduler.reason == "ASHA rung 4: 0.25 below cutoff 0.575 of 2 values"


def test_the_reason_in_mode_min_speaks_of_the_users_values() -> None:
    scheduler = asha("min")
    report(scheduler, 0, 1, 0.5)
    assert report(scheduler, 1, 1, 0.75) is Decision.STOP
    assert scheduler.reason == "ASHA rung 1: 0.75 above cutoff 0.5 of 1 values"


def test_a_result_not_newer_than_the_newest_does_not_count() -> None:
    scheduler = asha()
    report(scheduler, 0, 5, 0.9)
    before = scheduler.state()
    assert report(scheduler, 0, 5, 0.1) is Decision.CONTINUE
    assert report(scheduler, 0, 3, 0.1) is Decision.CONTINUE
    assert scheduler.state() == before


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_ranks_last(mode: str, value: float) -> None:
    scheduler = asha(mode)
    report(scheduler, 0, 1, -1e9 if mode == "max" else 1e9)
    assert report(scheduler, 1, 1, value) is Decision.STOP
    assert scheduler.reason == f"ASHA rung 1: {value} ranks last"


def test_no_cutoff_is_made_of_values_that_are_not_finite() -> None:
    scheduler = asha()
    assert report(scheduler, 0, 1, math.nan) is Decision.CONTINUE
    assert report(scheduler, 1, 1, 0.1) is Decision.CONTINUE


def test_a_missing_metric_is_an_error_that_lists_what_was_seen() -> None:
    with pytest.raises(
        MissingMetricError, match=r"00003 reported no score; its result has acc, tr"
    ):
        asha().on_result("00003", {"training_iteration": 1, "acc": 1})


def test_a_missing_metric_is_no_error_unless_strict() -> None:
    answer = asha(strict=False).on_result("00000", {"training_iteration": 100})
    assert answer is Decision.CONTINUE


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"maxT": 1, "gracePeriod": 2}, "gracePeriod must be <= maxT"),
        ({"reductionFactor": 1}, "reductionFactor must be > 1"),
        ({"brackets": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_work_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        asha(**spec)
