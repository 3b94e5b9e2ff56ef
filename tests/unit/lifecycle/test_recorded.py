"""Pods as Kubernetes leaves them, for every cause that ends one, and what each is charged as.

Most were recorded from real runs. What cannot be provoked on the test clusters (graceful node
shutdown, a kubelet that refuses or preempts, pressure of a node, Kueue) is built from the source
that writes it. The head of each file says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.lifecycle.builders import COMPLETED, FAILED, INTERRUPTED, evidence, node
from tune_operator.lifecycle.classify import TABLE, classify
from tune_operator.lifecycle.pod_view import project

FOLDER = Path(__file__).parent / "recorded"
LATER = datetime(2026, 11, 21, 13, tzinfo=UTC)
"""An hour after the recording: whatever is late by then is late."""

RECORDS = {"none": None, "Completed": COMPLETED, "Interrupted": INTERRUPTED, "Failed": FAILED}
NODES = {"ok": node(), "gone": None, "unreachable": node("Unknown")}


def recordings() -> Iterator[Any]:
    """Every Pod with everything it is expected to be taken for."""
    for path in sorted(FOLDER.glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        for expected in document["expected"]:
            where = expected.get("node", "ok")
            name = f"{path.stem}, record {expected['record']}, node {where}"
            yield pytest.param(document["pod"], expected, id=name)


@pytest.mark.parametrize(("raw", "expected"), list(recordings()))
def test_recorded(raw: dict[str, Any], expected: dict[str, Any]) -> None:
    view = project(raw)
    seen = evidence(
        view,
        RECORDS[expected["record"]],
        now=LATER,
        silent=timedelta(days=365).total_seconds(),
        node=NODES[expected.get("node", "ok")],
    )
    verdict = classify(seen)
    assert {
        "row": verdict.row,
        "class": verdict.cls,
        "counts": verdict.counts or "nothing",
        "reason": verdict.reason,
    } == {key: expected[key] for key in ("row", "class", "counts", "reason")}


def test_every_recording_says_where_it_is_from() -> None:
    for path in FOLDER.glob("*.yaml"):
        head = [line for line in path.read_text().splitlines() if line.startswith("#")]
        text = " ".join(head)
        assert "Recorded from a real run" in text or "Cannot be provoked" in text, path.name


def test_every_row_that_an_ended_pod_can_meet_was_recorded() -> None:
    rows = {case.values[1]["row"] for case in recordings()}
    assert {row.number for row in TABLE if 8 <= row.number <= 16 and row.number != 14} <= rows
