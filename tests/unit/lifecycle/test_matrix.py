"""The decision table as a whole: every ending by record, sign and exit code, in one golden table.

A cell is row and counter: ``16f`` is row 16 counted as a failure, ``d`` a disruption, ``i`` an
infrastructure rejection, ``-`` nothing. ``TUNE_WRITE_GOLDEN=1`` rewrites the file; every cell that
changes is a change of what users are charged for.
"""

import os
from pathlib import Path
from typing import Any

from tests.unit.lifecycle.builders import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    STOPPED,
    at,
    condition,
    ended,
    evidence,
    pod,
)
from tune_operator.lifecycle.classify import Counts, classify

GOLDEN = Path(__file__).parent / "golden" / "matrix.txt"
CODES = (0, 1, 75, 137, 143)
RECORDS = {
    "Completed": COMPLETED,
    "Stopped": STOPPED,
    "Interrupted": INTERRUPTED,
    "Failed": FAILED,
    "none": None,
}
SIGNS: dict[str, dict[str, Any]] = {
    "no sign": {},
    "deleted": {"deleted": at(-5)},
    "DisruptionTarget": {"conditions": (condition("DisruptionTarget", "X"),)},
    "TerminationTarget": {"conditions": (condition("TerminationTarget", "X"),)},
    "reason Terminated": {"reason": "Terminated"},
    "reason NodeLost": {"reason": "NodeLost"},
    "reason Evicted": {"reason": "Evicted"},
    "OOMKilled": {"why": "OOMKilled"},
    "OOMKilled, deleted": {"why": "OOMKilled", "deleted": at(-5)},
    "never started": {"started": None},
    "never started, Evicted": {"started": None, "reason": "Evicted"},
}
LETTERS = {
    Counts.NOTHING: "-",
    Counts.FAILURE: "f",
    Counts.DISRUPTION: "d",
    Counts.INFRASTRUCTURE: "i",
}


def cell(code: int, known: Any, sign: dict[str, Any]) -> str:
    fields = dict(sign)
    why = fields.pop("why", "")
    started = fields.pop("started", "2026-03-01T11:59:00Z")
    phase = "Succeeded" if code == 0 else "Failed"
    view = pod(ended(code, why, started=started), phase=phase, **fields)
    verdict = classify(evidence(view, known, silent=60))
    return f"{verdict.row}{LETTERS[verdict.counts]}"


def table() -> str:
    lines = [f"{'sign':24}{'record':13}" + "".join(f"{code:>6}" for code in CODES)]
    for sign, fields in SIGNS.items():
        for name, known in RECORDS.items():
            cells = "".join(f"{cell(code, known, fields):>6}" for code in CODES)
            lines.append(f"{sign:24}{name:13}{cells}")
    return "\n".join(lines) + "\n"


def test_every_ending_is_charged_as_the_table_says() -> None:
    made = table()
    if os.environ.get("TUNE_WRITE_GOLDEN") == "1":
        GOLDEN.write_text(made)
    assert made == GOLDEN.read_text()
