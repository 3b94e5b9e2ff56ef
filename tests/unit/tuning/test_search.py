"""Search: order and number of variants as in Ray Tune 2.60, nesting, values, refusals.

Orders and counts are those of Ray's BasicVariantGenerator, with which they were compared.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tune_operator.tuning.errors import SearchSpaceError
from tune_operator.tuning.search import Searcher, build


def searcher(space: dict[str, Any], *, num_samples: int = 1, seed: int = 7) -> Searcher:
    return build({"space": space}, num_samples=num_samples, metric="loss", mode="min", seed=seed)


def configs(found: Searcher) -> list[dict[str, Any]]:
    return [found.config(index) for index in range(found.total)]


def test_a_grid_runs_in_rays_order() -> None:
    """Axes sorted by path, capitals first, the first one fastest; once per sample."""
    grid = {
        "z": {"gridSearch": [1, 2]},
        "a/c": {"gridSearch": ["x", "y"]},
        "B": {"gridSearch": [0.1, 0.2]},
        "k": {"constant": 7},
    }
    once = [
        {"z": z, "a": {"c": c}, "B": b, "k": 7}
        for z in (1, 2)
        for c in ("x", "y")
        for b in (0.1, 0.2)
    ]
    assert configs(searcher(grid)) == once
    assert configs(searcher(grid, num_samples=3)) == once * 3


def test_axes_are_sorted_by_path_and_not_by_text() -> None:
    """'a-b' sorts before 'a/b' as text, but ('a', 'b') before ('a-b',) as a path."""
    grid = {"a-b": {"gridSearch": [3, 4]}, "a/b": {"gridSearch": [5, 6]}}
    assert configs(searcher(grid)) == [
        {"a-b": 3, "a": {"b": 5}},
        {"a-b": 3, "a": {"b": 6}},
        {"a-b": 4, "a": {"b": 5}},
        {"a-b": 4, "a": {"b": 6}},
    ]


def test_random_parameters_are_drawn_anew_at_every_grid_point() -> None:
    space = {"g": {"gridSearch": [1, 2, 3]}, "x": {"uniform": {"lower": 0, "upper": 1}}}
    found = configs(searcher(space, num_samples=2))
    assert [config["g"] for config in found] == [1, 2, 3, 1, 2, 3]
    assert len({config["x"] for config in found}) == 6


def test_without_a_grid_the_samples_are_the_trials() -> None:
    assert searcher({"x": {"constant": 1}}, num_samples=5).total == 5


def test_slashes_nest_and_values_keep_their_types() -> None:
    space = {
        "model/size/width": {"constant": 3},
        "model/act": {"constant": "relu"},
        "model/size/depth": {"constant": 2.5},
        "nothing": {"constant": None},
        "list": {"constant": [1, {"deep": True}]},
    }
    (config,) = configs(searcher(space))
    assert config == {
        "model": {"size": {"width": 3, "depth": 2.5}, "act": "relu"},
        "nothing": None,
        "list": [1, {"deep": True}],
    }
    assert json.loads(json.dumps(config)) == config


@pytest.mark.parametrize("kind", ["constant", "choice", "gridSearch"])
def test_trials_share_no_value(kind: str) -> None:
    value: Any = {"a": [1]}
    found = searcher({"x": {kind: value if kind == "constant" else [value]}}, num_samples=2)
    found.config(0)["x"]["a"].append(2)
    assert found.config(1) == {"x": {"a": [1]}}


def test_reference_values_never_change() -> None:
    """Configurations follow from (seed, index), in every later version of this code too."""
    space = {
        "lr": {"loguniform": {"lower": "1e-4", "upper": "1e-1"}},
        "layers": {"randint": {"lower": 1, "upper": 5}},
        "act": {"choice": ["relu", "tanh"]},
        "noise": {"randn": {}},
        "width": {"qlograndint": {"lower": 8, "upper": 256, "q": 8}},
    }
    assert configs(searcher(space, num_samples=2, seed=42)) == [
        {
            "lr": pytest.approx(0.00012925132881647027),
            "layers": 2,
            "act": "relu",
            "noise": pytest.approx(-0.7769959101019552),
            "width": 48,
        },
        {
            "lr": pytest.approx(0.0003161752244362167),
            "layers": 1,
            "act": "tanh",
            "noise": pytest.approx(2.061636987104723),
            "width": 8,
        },
    ]


def test_an_index_outside_is_an_error() -> None:
    found = searcher({"x": {"constant": 1}}, num_samples=2)
    for index in (-1, 2):
        with pytest.raises(IndexError, match=r"of 2"):
            found.config(index)


REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "lower above upper": (
        {"x": {"uniform": {"lower": 2, "upper": 1}}}, "space.x.uniform.upper", "greater than lower",
    ),
    "lower equals upper": (
        {"x": {"randint": {"lower": 2, "upper": 2}}}, "space.x.randint.upper", "greater than lower",
    ),
    "log scale from zero": (
        {"x": {"loguniform": {"lower": 0, "upper": 1}}}, "space.x.loguniform.lower", "must be > 0",
    ),
    "log scale from below zero": (
        {"x": {"lograndint": {"lower": -1, "upper": 1}}}, "space.x.lograndint.lower", "must be > 0",
    ),
    "q does not divide": (
        {"x": {"quniform": {"lower": 0, "upper": 1, "q": 0.3}}}, "space.x.quniform.q", "multiple",
    ),
    "q leaves no value": (
        {"x": {"qrandint": {"lower": 4, "upper": 5, "q": 3}}}, "space.x.qrandint.q", "smaller q",
    ),
    "standard deviation of zero": (
        {"x": {"randn": {"sd": 0}}}, "space.x.randn.sd", "must be > 0",
    ),
    "NaN bound": (
        {"x": {"uniform": {"lower": float("nan"), "upper": 1}}}, "space.x.uniform.lower", "finite",
    ),
    "infinite bound": (
        {"x": {"uniform": {"lower": 0, "upper": float("inf")}}}, "space.x.uniform.upper", "finite",
    ),
    "empty choice": ({"x": {"choice": []}}, "space.x.choice", "at least 1"),
    "empty grid": ({"x": {"gridSearch": []}}, "space.x.gridSearch", "at least 1"),
    "unknown type": ({"x": {"unifrom": {}}}, "space.x.unifrom", "did you mean uniform?"),
    "two types": ({"x": {"choice": [1], "constant": 1}}, "space.x", "set exactly one of"),
    "empty space": ({}, "space", "at least 1"),
    "value with values inside": (
        {"a": {"constant": 1}, "a/b": {"constant": 1}}, "space", "rename one",
    ),
    "grid beyond a million": (
        {name: {"gridSearch": list(range(101))} for name in "abc"}, "space", "1030301 points",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("space", "path", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_space_nobody_can_sample_is_refused(
    space: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(SearchSpaceError) as caught:
        searcher(space)
    assert caught.value.path == path
    assert message in caught.value.message
    assert str(caught.value) == f"{path}: {caught.value.message}"


def test_a_grid_of_a_million_points_costs_nothing_until_asked() -> None:
    grid = {name: {"gridSearch": list(range(100))} for name in "abc"}
    found = searcher(grid, num_samples=1000)
    assert found.total == 10**9
    assert found.config(10**9 - 1) == {"a": 99, "b": 99, "c": 99}
