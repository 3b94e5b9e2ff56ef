"""Results as data: JSON types, bounds, the objective, the criteria."""

import json
import math
from decimal import Decimal
from enum import IntEnum
from typing import Any

import numpy as np
import pytest

from tune_trainer import metrics
from tune_trainer.errors import AttemptFailed


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), (True, True), (3, 3), (2.5, 2.5), ("x", "x"),
        (np.float32(0.5), 0.5), (np.int64(7), 7), (np.bool_(True), True), (np.array(1.5), 1.5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]), ((1, (2,)), [1, [2]]),
        ({1: {"a": np.float64(2)}}, {"1": {"a": 2.0}}), (Level.HIGH, 3),
        (Decimal("1.5"), "1.5"), (b"x" * 500, str(b"x" * 500)[:256]),
    ],
)  # fmt: skip
def test_plain_values(value: Any, expected: Any) -> None:
    plain = metrics.plain(value)
    assert plain == expected
    assert type(plain) is type(expected)


def test_a_large_result_keeps_what_matters() -> None:
    result = {
        "huge": "x" * 5000,
        "loss": {"train": 1.0},
        "objective": 0.5,
        "list": [0] * 2000,
        "n": 3,
    }
    assert metrics.bounded(result, 100_000, ()) == result
    small = metrics.bounded(result, 1000, {"objective"})
    assert small == {"objective": 0.5, "n": 3, "loss/train": 1.0}
    assert len(json.dumps(small)) <= 1000
    assert metrics.bounded(result, 25, {"objective"}) == {"objective": 0.5}


def test_the_objective_may_be_nested_or_not_finite() -> None:
    metrics.require_objective({"a": {"b": 1}}, "a/b")
    metrics.require_objective({"a/b": 1}, "a/b")
    metrics.require_objective({"loss": math.nan}, "loss")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"accuracy": 1, "l": {"x": 2}}, "no metric 'loss', .* it has: accuracy, l/x"),
        ({"loss": "low"}, "'loss' .* is no number: 'low'"),
        ({"loss": None}, "is no number: None"),
    ],
)
def test_a_result_without_the_objective(result: dict[str, Any], message: str) -> None:
    with pytest.raises(AttemptFailed, match=message) as caught:
        metrics.require_objective(result, "loss")
    assert caught.value.reason == "MetricMissing"


@pytest.mark.parametrize(
    ("result", "met"),
    [
        ({"acc": 0.98}, "acc 0.98 >= 0.98"),
        ({"acc": 0.9799}, None),
        ({"acc": math.nan}, None),
        ({"acc": math.inf}, "acc inf >= 0.98"),
        ({"acc": 0, "loss": {"train": 2}}, "loss/train 2 >= 1"),
        ({}, None),
    ],
)
def test_criteria(result: dict[str, Any], met: str | None) -> None:
    assert metrics.reached(result, {"acc": 0.98, "loss/train": 1.0}) == met


def test_a_criterion_on_an_absent_key_fails_as_in_ray() -> None:
    with pytest.raises(AttemptFailed, match=r"no number 'b', .* it has: a") as caught:
        metrics.require_criteria({"a": 1}, {"a": 2.0, "b": 1.0})
    assert caught.value.reason == "CriterionMissing"
    metrics.require_criteria({"a": 1}, {"a": 2.0})
