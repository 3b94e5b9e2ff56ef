"""The decision table as a whole: situation by exit code, exit record and node.

`golden/matrix.txt` has a line per case. It is written from a second reading of DESIGN's table
(`reading.py`), never from the code under test; every line that changes is a change of what users
are charged for, or of what happens to their trials. ``TUNE_WRITE_GOLDEN=1`` writes it anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.unit.lifecycle.reading import Outcome, read
from tests.unit.lifecycle.situations import Situation, cases
from tune_operator.lifecycle import classify as classify_module
from tune_operator.lifecycle.classify import TABLE, Ends, Row, Then, Verdict, classify
from tune_operator.lifecycle.evidence import Evidence, Unread

GOLDEN = Path(__file__).parent / "golden" / "matrix.txt"
Case = tuple[Situation, int | None, str, str]

NEVER_BOTH = {(3, 4), (5, 6), (7, 8), (8, 9), (10, 11), (12, 13), (18, 19)}
"""Neighbours that no attempt can match at once, so that their order means nothing: over and not
over, a node that is there and one that is gone, terminating and over, a sign of disruption and
none, Succeeded and Failed, never started and started, no Pod and a Pod.
"""

ACTIONS = {
    Then.WAIT: "wait",
    Then.CREATE: "create",
    Then.COMPLETE: "complete",
    Then.STOPPED: "as the intent says",
    Then.RESUME: "resume",
    Then.FENCE: "fence",
    Then.START_ERROR: "intent startError",
    Then.HUNG: "intent hung",
    Then.CHECKPOINT: "checkpoint",
}
"""The code's actions in the words of the second reading."""


def name(case: Case) -> str:
    situation, code, record, node = case
    exit_code = "" if code is None else f"exit {code}"
    return f"{situation.name:46} | {exit_code:8} | {record:11} | {node:11}"


def line(outcome: Outcome) -> str:
    row, cls, counts, action = outcome
    return f"{row:2} {cls:11} {counts:14} {action}" if row else cls


def golden() -> dict[str, str]:
    lines = GOLDEN.read_text().splitlines()
    return dict(entry.split(" => ") for entry in lines if " => " in entry)


def judged(evidence: Evidence) -> Outcome:
    """What the code says. Rows 20 and 23 have no class in DESIGN's table."""
    if evidence.ending and isinstance(evidence.exit, Unread):
        return 0, "undecided", "-", "wait"
    verdict = classify(evidence)
    cls = "-" if verdict.row in (20, 23) else verdict.cls
    action = ACTIONS[verdict.then]
    if verdict.ends:
        action = {Ends.TRIAL: "end the trial", Ends.EXPERIMENT: "end the experiment"}[verdict.ends]
    return verdict.row, cls, verdict.counts or "-", action


CASES = {name(case): case for case in cases()}
EXPECTED = golden()
SEEN = {key: case[0].look(*case[1:]) for key, case in CASES.items()}


def test_the_golden_file_is_what_the_table_says_when_it_is_read_again() -> None:
    text = "\n".join(f"{key} => {line(read(*case))}" for key, case in CASES.items()) + "\n"
    if os.environ.get("TUNE_WRITE_GOLDEN") == "1":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda key: " ".join(key.split()))
def test_case(case: str) -> None:
    assert line(judged(SEEN[case])) == EXPECTED[case]


def test_every_row_decides_some_case() -> None:
    rows = {int(said.split()[0]) for said in EXPECTED.values() if said != "undecided"}
    assert rows == set(range(2, 25))


@pytest.mark.parametrize("then", Then)
def test_another_action_is_noticed(then: Then, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a row does, some case would show that it does something else."""
    wrong = Then.RESUME if then is Then.WAIT else Then.WAIT

    def changed(row: Row) -> Row:
        def verdict(seen: Evidence) -> Verdict:
            said = row.verdict(seen)
            return replace(said, then=wrong) if said.then is then else said

        return replace(row, verdict=verdict)

    assert not harmless([changed(row) for row in TABLE], monkeypatch)


@pytest.mark.parametrize("ends", [Ends.TRIAL, Ends.EXPERIMENT])
def test_a_rule_that_ends_nothing_is_noticed(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    (rule,) = (row for row in TABLE if row.number == 16)

    def verdict(seen: Evidence) -> Verdict:
        said = rule.verdict(seen)
        return replace(said, ends=Ends.NOTHING) if said.ends is ends else said

    table = [replace(row, verdict=verdict) if row is rule else row for row in TABLE]
    assert not harmless(table, monkeypatch)


def harmless(table: Sequence[Row], patch: pytest.MonkeyPatch) -> bool:
    """Whether a changed table says the same of every case."""
    nothing = Row(0, lambda _: True, lambda _: Verdict(0, "no row", Then.WAIT))
    patch.setattr(classify_module, "TABLE", (*table, nothing))
    return all(line(judged(seen)) == EXPECTED[key] for key, seen in SEEN.items())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"without row {row.number}")
def test_a_row_that_is_left_out_is_missed(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not harmless([other for other in TABLE if other is not row], monkeypatch)


@pytest.mark.parametrize(
    ("first", "second"), list(pairwise(TABLE)), ids=lambda row: f"row {row.number}"
)
def test_rows_that_change_places_are_noticed(
    first: Row, second: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = list(TABLE)
    at = swapped.index(first)
    swapped[at : at + 2] = second, first
    assert harmless(swapped, monkeypatch) is ((first.number, second.number) in NEVER_BOTH)


def test_neighbours_whose_order_means_nothing_never_meet() -> None:
    rows = {row.number: row for row in TABLE}
    for first, second in NEVER_BOTH:
        both = (rows[first], rows[second])
        assert not [key for key, seen in SEEN.items() if all(row.matches(seen) for row in both)]
