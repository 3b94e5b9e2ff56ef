"""The decision table (DESIGN 5.3): what happened to a Pod is read off here and nowhere else.

The first row that matches wins. Row 1, a name that a foreign object has taken, is met when a Pod
is created and belongs to the executor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tune_operator.lifecycle import verdicts
from tune_operator.lifecycle.evidence import KILLED_BY_NODE, REJECTED_BY_NODE, Evidence
from tune_operator.lifecycle.verdicts import (
    NORMAL_WAITING,
    START_TIMEOUT,
    Counts,
    Ends,
    Then,
    Verdict,
)
from tune_trainer.protocol.environment import EXIT_UNUSABLE

__all__ = [
    "NORMAL_WAITING",
    "START_TIMEOUT",
    "TABLE",
    "Counts",
    "Ends",
    "Row",
    "Then",
    "Verdict",
    "classify",
]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    number: int
    matches: Callable[[Evidence], bool]
    verdict: Callable[[Evidence], Verdict]


def classify(evidence: Evidence) -> Verdict:
    """The verdict of the first row that matches. The exit record must be decided by now."""
    return next(row for row in TABLE if row.matches(evidence)).verdict(evidence)


def _rejected(e: Evidence) -> bool:
    """Failed before the trainer ever started, for a reason of the node's."""
    by_node = e.pod_reason in REJECTED_BY_NODE or e.pod_reason.startswith("OutOf")
    return e.failed and not e.ever_started and by_node


def _unusable(e: Evidence) -> bool:
    return e.failed and e.pod is not None and e.pod.trainer.exit_code == EXIT_UNUSABLE


def _unplaced(e: Evidence) -> bool:
    return e.pod is not None and e.pod.scheduled is None and not e.ever_started


TABLE: tuple[Row, ...] = (
    Row(2, lambda e: e.completed, verdicts.completed),
    Row(3, lambda e: bool(e.stop_intent) and e.over, verdicts.stopped),
    Row(4, lambda e: e.terminating and not e.overdue, verdicts.terminating),
    Row(5, lambda e: e.terminating and not e.node_gone and not e.given_up, verdicts.overdue),
    Row(6, lambda e: e.terminating and e.node_gone, verdicts.orphaned),
    Row(7, lambda e: e.terminating and e.given_up, verdicts.lost),
    Row(8, lambda e: e.succeeded and not e.stopped and e.disruption_sign, verdicts.evicted),
    Row(9, lambda e: e.over and e.interrupted and not e.disruption_sign, verdicts.interrupted),
    Row(10, lambda e: e.succeeded, verdicts.no_result),
    Row(11, lambda e: e.failed and e.disruption_target, verdicts.disrupted),
    Row(12, _rejected, verdicts.refused),
    Row(
        13,
        lambda e: e.failed and e.ever_started and e.pod_reason in KILLED_BY_NODE,
        verdicts.killed,
    ),
    Row(14, _unusable, verdicts.unusable),
    Row(
        15,
        lambda e: e.failed and e.ever_started and e.pod_reason == "Evicted",
        verdicts.over_its_limit,
    ),
    # A record Failed whose Pod is gone tells more than row 17's silence: the same row.
    Row(16, lambda e: e.failed or (e.gone and e.record is not None), verdicts.failed),
    Row(17, lambda e: e.gone, verdicts.vanished),
    Row(18, lambda e: e.pod is None, verdicts.not_created),
    Row(19, _unplaced, verdicts.not_placed),
    Row(20, lambda e: not e.ever_started, verdicts.starting),
    # One that hangs would not hear that it should save, and would hang on a cordoned node for ever.
    Row(21, lambda e: bool(e.announcement) and not e.hung, verdicts.about_to_go),
    Row(22, lambda e: e.node_unreachable or e.node_gone, verdicts.silent_node),
    Row(23, lambda e: e.hung and not e.stop_intent, verdicts.hung),
    Row(24, lambda _: True, verdicts.running),
)
