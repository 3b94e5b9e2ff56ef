"""Failure rules: the first that matches an exit code, as in a Job's podFailurePolicy."""

import pytest

from tests.unit.lifecycle.builders import failing, rule
from tune_operator.lifecycle.rules import matching

IN = rule("FailTrial", 1, 42)
NOT_IN = rule("Ignore", 1, 42, operator="NotIn")


@pytest.mark.parametrize(
    ("rules", "code", "index"),
    [
        pytest.param([], 1, None, id="no rules"),
        pytest.param([IN], 42, 0, id="In"),
        pytest.param([IN], 2, None, id="not In"),
        pytest.param([NOT_IN], 2, 0, id="NotIn"),
        pytest.param([NOT_IN], 42, None, id="not NotIn"),
        pytest.param([IN, NOT_IN], 42, 0, id="the first of two"),
        pytest.param([IN, NOT_IN], 2, 1, id="the second of two"),
        pytest.param([NOT_IN], 0, None, id="code 0 is no failure"),
        pytest.param([NOT_IN], None, None, id="a container that left no code"),
        pytest.param([rule("FailTrial", 255)], 255, 0, id="the highest code"),
    ],
)
def test_matching(rules: list[dict[str, object]], code: int | None, index: int | None) -> None:
    match = matching(failing(rules=rules).rules, code)
    assert (match.index if match else None) == index


def test_a_match_names_field_and_code() -> None:
    match = matching(failing(rules=[NOT_IN, IN]).rules, 42)
    assert str(match) == "exit code 42 matches spec.failure.rules[1]"
