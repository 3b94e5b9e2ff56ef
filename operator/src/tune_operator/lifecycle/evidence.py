"""Everything known about one open attempt at one moment: the input of the decision table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import StopIntent
from tune_trainer.protocol.exit_record import ExitRecord, Outcome

OVERDUE = timedelta(seconds=30)
"""A Pod is overdue this long after its deletionTimestamp, which has the grace in it already."""

RECORD_GRACE = timedelta(seconds=30)
"""How long a Pod that exited 0 may lack an exit record before it counts as a failure (row 10)."""

SLOW_START = timedelta(seconds=60)
"""A start that takes longer is told as Stalled; most images are there by then."""

DISRUPTIVE_REASONS = frozenset({"Terminated", "NodeShutdown", "Evicted", "Preempting"})
KILLED_BY_NODE = frozenset({"Preempting", "Terminated", "NodeShutdown", "NodeLost"})
REJECTED_BY_NODE = frozenset(
    {"Preempting", "NodeShutdown", "NodeAffinity", "UnexpectedAdmissionError", "Evicted"}
)


class Unread(Enum):
    """Why there is no exit record to look at."""

    NOT_ASKED = "not asked"
    UNDECIDED = "undecided"  # the store did not answer: never taken for "none"


ExitKnowledge = ExitRecord | None | Unread
"""A record, None (the store says there is none), or why we do not know."""


@dataclass(frozen=True)
class Evidence:
    """One attempt. ``pod`` None means absent, by a live read where the UID was bound.

    ``silent_since`` is when the trainer was first seen terminal, for row 10's grace.
    ``streak`` counts earlier endings in a row without a new committed checkpoint.
    """

    now: datetime
    bound_uid: str
    stop_intent: StopIntent
    pod: PodView | None
    exit: ExitKnowledge
    start_timeout: timedelta
    streak: int = 0
    silent_since: datetime | None = None

    @property
    def record(self) -> ExitRecord | None:
        """The exit record, if there is one."""
        return self.exit if isinstance(self.exit, ExitRecord) else None

    @property
    def gone(self) -> bool:
        """It existed and does not any more."""
        return self.pod is None and bool(self.bound_uid)

    @property
    def over(self) -> bool:
        """Terminal or gone."""
        return self.gone or (self.pod is not None and self.pod.terminal)

    @property
    def succeeded(self) -> bool:
        return self.pod is not None and self.pod.terminal and self.pod.succeeded

    @property
    def failed(self) -> bool:
        return self.pod is not None and self.pod.terminal and self.pod.failed

    @property
    def interrupted(self) -> bool:
        return self.record is not None and self.record.outcome is Outcome.INTERRUPTED

    @property
    def stopped(self) -> bool:
        """Ended by a directive, which only a recorded stop intent explains."""
        return self.record is not None and self.record.outcome is Outcome.STOPPED

    @property
    def deleted(self) -> datetime | None:
        return self.pod.deleted if self.pod else None

    @property
    def disruption_target(self) -> bool:
        return bool(self.pod and (self.pod.disruption_target or self.pod.termination_target))

    @property
    def pod_reason(self) -> str:
        return self.pod.reason if self.pod else ""

    @property
    def ever_started(self) -> bool:
        """A record proves it as well as a container state does."""
        return self.record is not None or bool(self.pod and self.pod.trainer.started)

    @property
    def disruption_sign(self) -> bool:
        """What row 8 accepts as a sign that somebody took the Pod away."""
        return (
            self.deleted is not None
            or self.disruption_target
            or self.pod_reason in DISRUPTIVE_REASONS
        )

    @property
    def overdue_at(self) -> datetime | None:
        return self.deleted + OVERDUE if self.deleted else None

    @property
    def overdue(self) -> bool:
        return self.overdue_at is not None and self.now > self.overdue_at

    @property
    def slow_start_at(self) -> datetime | None:
        """When people should hear of a Pod that has a node but no running trainer."""
        if self.pod is None or self.pod.scheduled is None or self.ever_started:
            return None
        return self.pod.scheduled + SLOW_START

    @property
    def start_deadline(self) -> datetime | None:
        """When row 20 fires, for a Pod that has a node but no running trainer."""
        if self.pod is None or self.pod.scheduled is None or self.ever_started:
            return None
        return self.pod.scheduled + self.start_timeout
