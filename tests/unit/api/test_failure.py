"""The failure budgets: defaults, what is refused with which words, and which rule a code meets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.failure_cases import ACCEPTED, OUT_OF_BOUNDS, REFUSED, rule, ruled
from tests.unit.api.objects import good
from tests.unit.api.reading import read, refusal
from tune_operator.api.failure import Failure, OnExitCodes

PAGE = Path(__file__).parents[3] / "docs" / "experiments.md"


def test_the_documented_defaults() -> None:
    failure = Failure()
    assert failure.max_failures == 3
    assert (failure.disruptions.policy, failure.disruptions.max) == ("Count", 20)
    assert (failure.max_failed_trials, failure.fail_fast, failure.rules) == (-1, False, [])
    assert (failure.backoff.initial_seconds, failure.backoff.max_seconds) == (1, 300)
    assert (failure.node_lost.timeout_seconds, failure.node_lost.policy) == (60, "Fence")
    assert (failure.start_timeout_seconds, failure.progress_deadline_seconds) == (600, 0)


@pytest.mark.parametrize(("section", "field", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_contradiction_is_refused_with_its_place_and_remedy(
    section: dict[str, Any], field: str, message: str
) -> None:
    told = refusal(good(failure=section))
    assert told.startswith(f"spec.failure{field}")
    assert message in told


@pytest.mark.parametrize(("section", "field"), OUT_OF_BOUNDS.values(), ids=OUT_OF_BOUNDS.keys())
def test_a_value_out_of_bounds_is_refused_at_its_field(section: dict[str, Any], field: str) -> None:
    place, _, told = refusal(good(failure=section)).partition(": ")
    assert place == f"spec.failure{field}"
    assert told.startswith(("must be ", "must have ", "is required"))


@pytest.mark.parametrize("section", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_good_section_is_accepted(section: dict[str, Any]) -> None:
    failure = read(good(failure=section)).failure
    assert failure.model_dump(by_alias=True, exclude_unset=True) == section


def test_the_section_that_is_explained_to_users_is_accepted() -> None:
    (section,) = re.findall(r"```yaml\n(  failure:\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert read(good(**yaml.safe_load(section))).failure.rules


@pytest.mark.parametrize(
    ("operator", "code", "matches"),
    [("In", 42, True), ("In", 41, False), ("NotIn", 42, False), ("NotIn", 41, True)],
)
def test_a_rule_matches_its_codes(operator: Any, code: int, matches: bool) -> None:
    assert OnExitCodes(operator=operator, values=[42]).match(code) is matches


CODES = st.lists(st.integers(1, 255), min_size=1, max_size=4, unique=True)
RULES = st.lists(st.tuples(st.sampled_from(["In", "NotIn"]), CODES), min_size=2, max_size=3)


@given(RULES)
def test_rules_are_refused_exactly_if_a_code_meets_two(rules: list[tuple[str, list[int]]]) -> None:
    met = [
        set(codes) if operator == "In" else set(range(1, 256)) - set(codes)
        for operator, codes in rules
    ]
    disjoint = sum(map(len, met)) == len(set().union(*met))
    spec = good(failure=ruled(*(rule(operator, *codes) for operator, codes in rules)))
    if disjoint:
        assert len(read(spec).failure.rules) == len(rules)
    else:
        assert "exit code" in refusal(spec)
