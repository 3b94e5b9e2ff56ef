"""Which of ``spec.failure.rules`` an exit code meets (row 16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tune_operator.api.failure import FailureRule


@dataclass(frozen=True)
class Match:
    """The first rule that applies to an exit code, and its place in the list."""

    index: int
    rule: FailureRule
    exit_code: int

    def __str__(self) -> str:
        return f"exit code {self.exit_code} matches spec.failure.rules[{self.index}]"


def matching(rules: Sequence[FailureRule], exit_code: int | None) -> Match | None:
    """None when no rule applies. As in a Job, code 0 and no code at all match nothing."""
    if not exit_code:
        return None
    for index, rule in enumerate(rules):
        given = rule.on_exit_codes
        if (exit_code in given.values) is (given.operator == "In"):
            return Match(index, rule, exit_code)
    return None
