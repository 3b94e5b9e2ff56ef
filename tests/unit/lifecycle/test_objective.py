"""The objective's value in a result, and which of two is better."""

import math
from typing import Any

import pytest

from tune_operator.lifecycle.objective import objective_of, rank


@pytest.mark.parametrize(
    ("metrics", "metric", "value"),
    [
        pytest.param({"loss": 0.5}, "loss", 0.5, id="number"),
        pytest.param({"loss": 3}, "loss", 3.0, id="integer"),
        pytest.param({"eval": {"loss": 0.5}}, "eval/loss", 0.5, id="nested"),
        pytest.param({"eval/loss": 1.0, "eval": {"loss": 2.0}}, "eval/loss", 1.0, id="flat wins"),
        pytest.param({}, "loss", None, id="missing"),
        pytest.param({"eval": 3}, "eval/loss", None, id="path through a number"),
        pytest.param({"loss": "0.5"}, "loss", None, id="text"),
        pytest.param({"loss": True}, "loss", None, id="boolean"),
        pytest.param({"loss": None}, "loss", None, id="null"),
        pytest.param({"loss": math.inf}, "loss", math.inf, id="infinity"),
        pytest.param({"loss": 10**400}, "loss", math.inf, id="beyond any float"),
        pytest.param({"loss": -(10**400)}, "loss", -math.inf, id="below any float"),
    ],
)
def test_objective_of(metrics: dict[str, Any], metric: str, value: float | None) -> None:
    assert objective_of(metrics, metric) == value


def test_nan_stays_nan() -> None:
    value = objective_of({"loss": math.nan}, "loss")
    assert value is not None
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("mode", "ascending"), [("max", [-2.0, 0.0, 1.0, 7.0]), ("min", [7.0, 1.0, 0.0, -2.0])]
)
def test_rank_orders_from_worst_to_best(mode: str, ascending: list[float]) -> None:
    useless = [None, math.nan, math.inf, -math.inf]
    best_first = sorted([*ascending, *useless], key=lambda v: rank(v, mode), reverse=True)
    assert best_first[:4] == ascending[::-1]
