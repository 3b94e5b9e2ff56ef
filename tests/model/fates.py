"""What befell each Pod, step by step, and where its attempt may be counted for that (P2).

A second reading of the decision table, from what was done to a Pod, not from what its object says.
An operator may have decided at any step since the end of the Pod: each of them gives an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tune_trainer.protocol.exit_record import Outcome

FAILURE, DISRUPTION, INFRASTRUCTURE, NOTHING = "failure", "disruption", "infrastructure", "nothing"
IN_A_ROW = 10
"""Interruptions without a new commit after which one is a failure."""


@dataclass(frozen=True)
class Fate:
    """Of one Pod up to some step. ``taken``: it has a DisruptionTarget. ``code``: its trainer's,
    ``reason``: its node's. ``ended``: the API server was told; ``torn``: its object is gone.
    """

    taken: bool = False
    deleted: bool = False
    record: Outcome | None = None
    ran: bool = False
    code: int = 0
    reason: str = ""
    ended: bool = False
    torn: bool = False

    def counts(self, streak: int) -> str:
        """Where an attempt is counted whose Pod ended so."""
        if self.record is Outcome.COMPLETED:
            return NOTHING
        if self.torn and self.record is None:
            return DISRUPTION
        if self.taken and not self.torn:
            return DISRUPTION
        sign = (self.deleted or self.reason in ("Evicted", *BY_NODE)) and not self.torn
        if self.record is Outcome.INTERRUPTED and not sign:
            return FAILURE if streak + 1 >= IN_A_ROW else NOTHING
        return FAILURE if self.torn else self._by_end()

    def _by_end(self) -> str:
        if self.reason in ("Evicted", "NodeShutdown", "OutOfcpu") and not self.ran:
            return INFRASTRUCTURE
        if self.reason in BY_NODE and self.ran:
            return DISRUPTION
        if self.code == 75:
            return INFRASTRUCTURE
        own = self.code == 42 or self.reason == "Evicted"
        return DISRUPTION if self.deleted and not own else FAILURE


BY_NODE = ("NodeShutdown", "Terminated")


class Fates:
    """Of all Pods, by UID."""

    def __init__(self) -> None:
        self._steps: dict[str, list[Fate]] = {}

    def befalls(self, uid: str, **news: Any) -> None:
        """Something more happens to a Pod."""
        steps = self._steps.setdefault(uid, [Fate()])
        steps.append(replace(steps[-1], **news))

    def counts(self, uid: str, streak: int) -> set[str]:
        """Where its attempt may be counted."""
        steps = self._steps.get(uid, [])
        over = {step.counts(streak) for step in steps if step.ended or step.torn}
        # Only a completion is ever recorded by a process whose Pod is over, or not to end at all.
        completed = bool(steps) and steps[-1].record is Outcome.COMPLETED
        return over | ({NOTHING} if completed else set())
