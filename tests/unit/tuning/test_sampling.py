"""Sampling: which values each distribution reaches (as Ray Tune 2.60 does), and how often."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_operator.tuning.search import build
from tune_operator.tuning.streams import Draw, draw

SAMPLES = 2000
FIRST, LAST = Draw(0), Draw(2**53 - 1)


def values(dimension: dict[str, Any], *, seed: int = 7, count: int = SAMPLES) -> list[Any]:
    found = build(
        {"space": {"x": dimension}}, num_samples=count, metric="loss", mode="min", seed=seed
    )
    return [found.config(index)["x"] for index in range(count)]


REACHED: dict[str, tuple[dict[str, Any], list[float]]] = {
    "randint excludes upper": ({"randint": {"lower": 0, "upper": 4}}, [0, 1, 2, 3]),
    "randint below zero": ({"randint": {"lower": -2, "upper": 1}}, [-2, -1, 0]),
    "qrandint includes upper": ({"qrandint": {"lower": 0, "upper": 10, "q": 5}}, [0, 5, 10]),
    "qrandint with even q": ({"qrandint": {"lower": 0, "upper": 6, "q": 2}}, [0, 2, 4, 6]),
    "qrandint moves bounds inwards": ({"qrandint": {"lower": 1, "upper": 10, "q": 3}}, [3, 6, 9]),
    "qrandint around zero": ({"qrandint": {"lower": -7, "upper": 7, "q": 3}}, [-6, -3, 0, 3, 6]),
    "qrandint with one multiple": ({"qrandint": {"lower": 3, "upper": 5, "q": 4}}, [4]),
    "qrandint with q 1 excludes upper": ({"qrandint": {"lower": 0, "upper": 3}}, [0, 1, 2]),
    "lograndint excludes upper": ({"lograndint": {"lower": 1, "upper": 4}}, [1, 2, 3]),
    "qlograndint includes upper": ({"qlograndint": {"lower": 2, "upper": 8, "q": 2}}, [2, 4, 6, 8]),
    "qlograndint with q 1 excludes upper": (
        {"qlograndint": {"lower": 1, "upper": 3, "q": 1}},
        [1, 2],
    ),
    "quniform includes both": (
        {"quniform": {"lower": -1, "upper": 1, "q": 0.5}},
        [-1, -0.5, 0, 0.5, 1],
    ),
    "quniform with q 1": ({"quniform": {"lower": 0, "upper": 2, "q": 1}}, [0, 1, 2]),
    "quniform with inexact q": (
        {"quniform": {"lower": 0.1, "upper": 0.3, "q": 0.1}},
        [0.1, 0.2, 0.3],
    ),
    "qloguniform includes both": (
        {"qloguniform": {"lower": 0.5, "upper": 2, "q": 0.5}},
        [0.5, 1, 1.5, 2],
    ),
}


@pytest.mark.parametrize(("dimension", "reached"), REACHED.values(), ids=REACHED.keys())
def test_reached_values(dimension: dict[str, Any], reached: list[float]) -> None:
    found = values(dimension)
    assert sorted(set(found)) == reached
    integral = "int" in next(iter(dimension))
    assert {type(value) for value in found} == {int if integral else float}


def test_quantised_integers_are_equally_likely() -> None:
    counts = Counter(values({"qrandint": {"lower": 0, "upper": 10, "q": 2}}))
    assert all(counts[value] == pytest.approx(SAMPLES / 6, rel=0.25) for value in range(0, 11, 2))


def test_the_ends_of_a_quantised_float_get_half_the_weight() -> None:
    counts = Counter(values({"quniform": {"lower": 0, "upper": 1, "q": 0.25}}))
    assert counts[0.0] + counts[1.0] == pytest.approx(SAMPLES / 4, rel=0.25)


def test_loguniform_spends_equally_on_every_decade() -> None:
    found = values({"loguniform": {"lower": 1e-4, "upper": 1}})
    decades = Counter(math.floor(math.log10(value)) for value in found)
    assert all(decades[decade] == pytest.approx(SAMPLES / 4, rel=0.2) for decade in range(-4, 0))


def test_randn_has_its_mean_and_deviation() -> None:
    found = values({"randn": {"mean": 10, "sd": 2}})
    assert statistics.mean(found) == pytest.approx(10, abs=0.2)
    assert statistics.stdev(found) == pytest.approx(2, rel=0.1)
    assert set(values({"qrandn": {"q": 2}})) >= {-2.0, 0.0, 2.0}


def test_choice_reaches_everything_and_keeps_types() -> None:
    found = values({"choice": [1, 1.5, "1", True, None]})
    assert {(type(value), value) for value in found} == {
        (int, 1), (float, 1.5), (str, "1"), (bool, True), (type(None), None),
    }  # fmt: skip


finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=5e-324, allow_infinity=False)
whole = st.integers(-(2**53), 2**53)
seeds = st.integers(0, 2**128 - 1)


@given(st.lists(finite, min_size=2, max_size=2, unique=True), seeds)
def test_uniform_stays_within_any_bounds(bounds: list[float], seed: int) -> None:
    lower, upper = sorted(bounds)
    for value in values({"uniform": {"lower": lower, "upper": upper}}, seed=seed, count=5):
        assert lower <= value <= upper


@given(st.lists(positive, min_size=2, max_size=2, unique=True), seeds)
def test_loguniform_stays_within_any_bounds(bounds: list[float], seed: int) -> None:
    lower, upper = sorted(bounds)
    for value in values({"loguniform": {"lower": lower, "upper": upper}}, seed=seed, count=5):
        assert lower <= value <= upper


@given(st.lists(whole, min_size=2, max_size=2, unique=True), seeds)
def test_randint_stays_within_any_bounds(bounds: list[int], seed: int) -> None:
    lower, upper = sorted(bounds)
    for value in values({"randint": {"lower": lower, "upper": upper}}, seed=seed, count=5):
        assert lower <= value < upper


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(1, 1000), seeds)
def test_quantised_integers_are_multiples_within_bounds(
    lower: int, width: int, q: int, seed: int
) -> None:
    upper = lower + width + q  # wide enough for one multiple
    for kind in ("qrandint", "qlograndint"):
        dimension = {kind: {"lower": lower, "upper": upper, "q": q}}
        for value in values(dimension, seed=seed, count=5):
            assert lower <= value <= upper
            assert value % q == 0


@given(st.integers(1, 1000), st.integers(1, 1000), st.floats(1e-6, 1e6), seeds)
def test_quantised_floats_are_multiples_within_bounds(
    first: int, steps: int, q: float, seed: int
) -> None:
    bounds = {"lower": first * q, "upper": (first + steps) * q, "q": q}
    for kind in ("quniform", "qloguniform"):
        for value in values({kind: bounds}, seed=seed, count=5):
            assert bounds["lower"] <= value <= bounds["upper"]
            assert value / q == pytest.approx(round(value / q))


@given(finite, positive, positive, seeds)
def test_normal_values_are_always_finite(mean: float, sd: float, q: float, seed: int) -> None:
    plain = values({"randn": {"mean": mean, "sd": sd}}, seed=seed, count=3)
    quantised = values({"qrandn": {"mean": mean, "sd": sd, "q": q}}, seed=seed, count=3)
    assert all(map(math.isfinite, plain + quantised))


@given(st.integers(1, 2**54))
def test_draws_cover_their_interval_and_nothing_else(count: int) -> None:
    assert (FIRST.unit, FIRST.below(count)) == (0.0, 0)
    assert LAST.unit < 1
    assert LAST.below(count) < count
    assert 0 < FIRST.interior < LAST.interior < 1


@given(seeds, st.text(), st.text(), st.integers(0, 10**9))
def test_streams_are_independent(seed: int, one: str, other: str, trial: int) -> None:
    assert draw(seed, one, trial) == draw(seed, one, trial)
    assert draw(seed, one, trial) != draw(seed, one, trial + 1)
    assert draw(seed, one, trial) != draw(seed + 1, one, trial)
    assert one == other or draw(seed, one, trial) != draw(seed, other, trial)


def test_streams_are_not_correlated() -> None:
    one = [draw(7, "a", trial).unit for trial in range(SAMPLES)]
    other = [draw(7, "b", trial).unit for trial in range(SAMPLES)]
    assert abs(statistics.correlation(one, other)) < 0.1
    assert abs(statistics.correlation(one[1:], one[:-1])) < 0.1
