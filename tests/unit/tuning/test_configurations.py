"""Configurations as a whole: a pure function of (seed, index), JSON, each parameter on its own."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tune_operator.tuning.search import Searcher, build

NAMES = ["a", "b", "B", "nested/x", "nested/y", "deep/er/z"]
DIMENSIONS: list[dict[str, Any]] = [
    {"uniform": {"lower": 0, "upper": 1}},
    {"quniform": {"lower": 0, "upper": 1, "q": 0.25}},
    {"loguniform": {"lower": "1e-5", "upper": "1e-1"}},
    {"qloguniform": {"lower": 0.5, "upper": 8, "q": 0.5}},
    {"randint": {"lower": 0, "upper": 100}},
    {"qrandint": {"lower": 0, "upper": 100, "q": 10}},
    {"lograndint": {"lower": 1, "upper": 1000}},
    {"qlograndint": {"lower": 8, "upper": 1024, "q": 8}},
    {"choice": ["relu", "tanh", None, [1, 2]]},
    {"randn": {"mean": 1, "sd": 2}},
    {"qrandn": {"mean": 1, "sd": 2, "q": 0.5}},
    {"gridSearch": [1, 2.5, "three"]},
    {"constant": {"a": 1}},
]
spaces = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(DIMENSIONS), min_size=1)
samples = st.integers(1, 4)
seeds = st.integers(0, 2**64)


def searcher(space: dict[str, Any], num_samples: int, seed: int) -> Searcher:
    return build({"space": space}, num_samples=num_samples, metric="loss", mode="min", seed=seed)


def at(config: dict[str, Any], key: str) -> Any:
    place: Any = config
    for name in key.split("/"):
        place = place[name]
    return place


@given(spaces, samples, seeds)
def test_any_configuration_is_found_alone_and_again(
    space: dict[str, Any], num_samples: int, seed: int
) -> None:
    one, other = searcher(space, num_samples, seed), searcher(space, num_samples, seed)
    backwards = [one.config(index) for index in reversed(range(one.total))]
    assert list(reversed(backwards)) == [other.config(index) for index in range(other.total)]


@given(spaces, samples, seeds)
def test_configurations_survive_json(space: dict[str, Any], num_samples: int, seed: int) -> None:
    config = searcher(space, num_samples, seed).config(0)
    assert json.loads(json.dumps(config, allow_nan=False)) == config


@given(spaces, samples, seeds)
def test_more_samples_change_no_earlier_one(
    space: dict[str, Any], num_samples: int, seed: int
) -> None:
    fewer, more = searcher(space, num_samples, seed), searcher(space, num_samples + 3, seed)
    assert [fewer.config(index) for index in range(fewer.total)] == [
        more.config(index) for index in range(fewer.total)
    ]


@given(spaces, seeds, st.sampled_from([item for item in DIMENSIONS if "gridSearch" not in item]))
def test_another_parameter_changes_no_other(
    space: dict[str, Any], seed: int, added: dict[str, Any]
) -> None:
    before, after = searcher(space, 2, seed), searcher({**space, "zz": added}, 2, seed)
    assert before.total == after.total
    for index in range(before.total):
        config = after.config(index)
        config.pop("zz")
        assert config == before.config(index)


@given(spaces, samples, seeds)
def test_every_grid_point_comes_once_per_sample(
    space: dict[str, Any], num_samples: int, seed: int
) -> None:
    found = searcher(space, num_samples, seed)
    axes = [key for key, item in space.items() if "gridSearch" in item]
    assert found.total == num_samples * 3 ** len(axes)
    points = [tuple(at(found.config(index), key) for key in axes) for index in range(found.total)]
    assert all(points.count(point) == num_samples for point in points)


@given(spaces, seeds)
def test_the_order_in_which_a_space_is_written_does_not_matter(
    space: dict[str, Any], seed: int
) -> None:
    turned = dict(reversed(space.items()))
    assert searcher(space, 2, seed).config(1) == searcher(turned, 2, seed).config(1)
