"""Everything known about one open attempt at one moment: the input of the decision table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from tune_operator.api.failure import Failure
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.node_view import NodeKnowledge, NodeUnread, NodeView
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
    ``streak`` counts earlier endings in a row without a new committed checkpoint. ``failure`` is
    the section in force. ``node`` is the Pod's. ``heard`` is the later of the attempt's last
    report and the moment this leader was ready to hear one; None: it was not, yet.
    """

    now: datetime
    bound_uid: str
    stop_intent: StopIntent
    pod: PodView | None
    exit: ExitKnowledge
    failure: Failure
    streak: int = 0
    silent_since: datetime | None = None
    node: NodeKnowledge = NodeUnread.NOT_ASKED
    heard: datetime | None = None

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
    def completed(self) -> bool:
        return self.record is not None and self.record.outcome is Outcome.COMPLETED

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
    def terminating(self) -> bool:
        """To be deleted, and the trainer is not known to have ended."""
        return self.deleted is not None and not self.over

    @property
    def disruption_target(self) -> bool:
        """Kubernetes or Kueue takes the Pod away."""
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
    def node_gone(self) -> bool:
        """No kubelet will ever tell how the Pod ended; Pod GC will."""
        return self.node is None or (isinstance(self.node, NodeView) and self.node.written_off)

    @property
    def node_unreachable(self) -> bool:
        return isinstance(self.node, NodeView) and self.node.unreachable

    @property
    def given_up_at(self) -> datetime | None:
        """When an overdue Pod on an unreachable node may be fenced; None: not as things are."""
        if not isinstance(self.node, NodeView) or self.failure.node_lost.policy != "Fence":
            return None
        since = self.node.unreachable_since
        return since + timedelta(seconds=self.failure.node_lost.timeout_seconds) if since else None

    @property
    def given_up(self) -> bool:
        return self.given_up_at is not None and self.now >= self.given_up_at

    @property
    def ending(self) -> bool:
        """Over or about to be fenced: the exit record must be read before a row is chosen."""
        return self.over or (self.overdue and self.given_up and not self.node_gone)

    @property
    def giving_up(self) -> bool:
        """To be replaced or ended by us for what did not happen in time (rows 7, 20 and 23)."""
        if self.over or self.ending:
            return not self.over
        late = self.start_deadline is not None and self.now >= self.start_deadline
        return not self.stop_intent and (late or self.hung)

    @property
    def announcement(self) -> str:
        """What says that a Pod nobody deletes yet will soon have to go; empty if nothing does."""
        if self.pod is not None and self.pod.disruption_target:
            return f"Pod {self.pod.name} has DisruptionTarget {self.pod.disruption_target}"
        return self.node.announcement if isinstance(self.node, NodeView) else ""

    @property
    def hung_at(self) -> datetime | None:
        """When row 23 fires. A trainer cannot have reported before it ran."""
        seconds = self.failure.progress_deadline_seconds
        if not seconds or self.heard is None or self.pod is None:
            return None
        since = self.pod.trainer.running_since or self.heard
        return max(self.heard, since) + timedelta(seconds=seconds)

    @property
    def hung(self) -> bool:
        return self.hung_at is not None and self.now >= self.hung_at

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
        return self.pod.scheduled + timedelta(seconds=self.failure.start_timeout_seconds)

    def describe(self) -> str:
        """The facts a row was chosen by, in one short line for the log."""
        facts = {
            "phase": self.pod.phase if self.pod else ("gone" if self.bound_uid else "absent"),
            "exit": self.pod.trainer.exit_code if self.pod else None,
            "reason": self.pod_reason or (self.pod.trainer.reason if self.pod else ""),
            "deleted": instants.render(self.deleted),
            "target": self.pod.disruption_target or self.pod.termination_target if self.pod else "",
            "node": self._node_in_words(),
            "record": self.record.outcome if self.record else self._record_in_words(),
            "intent": self.stop_intent,
            "streak": self.streak or None,
        }
        told = {key: value for key, value in facts.items() if value not in (None, "")}
        return " ".join(f"{key}={value}" for key, value in told.items())

    def _node_in_words(self) -> str:
        if isinstance(self.node, NodeUnread):
            return ""
        if self.node is None:
            return "gone"
        words = "out of service" if self.node.out_of_service else f"Ready={self.node.ready}"
        return f"{self.node.name}({words})"

    def _record_in_words(self) -> str:
        if isinstance(self.exit, Unread):
            return "" if self.exit is Unread.NOT_ASKED else self.exit.value
        return "none"
