"""Writes the tables of docs/reliability.md from what the last `make test` ran.

The numbers are counted, not typed: `make test` notes every test that passed, with its number of
cases, and leaves them in .logs/cases.jsonl once all have passed. A test that a table names and that
was not among them is an error: a promise without its proof, or a rule that nobody missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dev.promises import PROMISES, Promise
from tests.model.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / ".logs" / "cases.jsonl"
TAKEN_AWAY = "tests/model/test_mutations.py::test_a_lost_rule_breaks_its_promise"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- begin: make reliability -->", "<!-- end: make reliability -->"


def read_cases(path: Path) -> Counter[str]:
    """Cases by test ID."""
    found: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        found[entry["test"]] += entry["cases"]
    return found


def of(promise: Promise, cases: Counter[str]) -> int:
    """Cases of all tests that prove the promise."""
    return sum(number for test, number in cases.items() if test.startswith(promise.tests))


def unproven(cases: Counter[str]) -> list[str]:
    """Tests of the tables that did not run or did not pass."""
    named = {test for promise in PROMISES for test in promise.tests}
    named |= {f"{TAKEN_AWAY}[{mutation.name}]" for mutation in MUTATIONS}
    return sorted(test for test in named if not any(one.startswith(test) for one in cases))


def tables(cases: Counter[str]) -> str:
    """The generated part of the page."""
    lines = ["| | promise | proven by | cases |", "| --- | --- | --- | --- |"]
    for promise in PROMISES:
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in promise.tests)
        lines.append(f"| {promise.name} | {promise.text} | {tests} | {of(promise, cases):,} |")
    lines += ["", "| safety rule that is taken away | what the model finds then |", "| --- | --- |"]
    lines += [f"| {mutation.rule} | {mutation.breaks} |" for mutation in MUTATIONS]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.reliability", description=__doc__)
    parser.parse_args(arguments)
    if not CASES.exists():
        print(f"reliability: {CASES.relative_to(ROOT)} is missing: run make test, all of it, first")
        return 1
    cases = read_cases(CASES)
    if missing := unproven(cases):
        print("reliability: these did not pass in the last make test:", *missing, sep="\n  ")
        return 1
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables(cases)}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
