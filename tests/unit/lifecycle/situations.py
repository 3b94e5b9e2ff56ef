"""Ways in which an attempt can be found: what a look at it shows, exit record and node aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.unit.lifecycle.builders import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    NOT_ASKED,
    RUNNING,
    STOPPED,
    UNDECIDED,
    at,
    condition,
    ended,
    evidence,
    node,
    pod,
    rule,
    waiting,
)
from tune_operator.lifecycle.evidence import Evidence, ExitKnowledge
from tune_operator.lifecycle.node_view import NodeKnowledge
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import StopIntent

CODES = (0, 1, 75, 137, 143)
FEW = (0, 143)
NO_CODE = (None,)
RECORDS = ("Completed", "Stopped", "Interrupted", "Failed", "none", "store down")
NODES = ("ok", "gone", "unreachable")

_KNOWN: dict[str, ExitKnowledge] = {
    "Completed": COMPLETED,
    "Stopped": STOPPED,
    "Interrupted": INTERRUPTED,
    "Failed": FAILED,
    "none": None,
    "store down": UNDECIDED,
}
_DELETED = {"": None, "deleted": at(20), "overdue": at(-31)}


@dataclass(frozen=True)
class Situation:
    """``pod``: absent, gone, unplaced, starting, running, or ended.

    ``phase_failed``: the kubelet ended it and says Failed, whatever the exit code. ``late``: the
    trainer does not start, or reports nothing, for longer than it may.
    """

    name: str
    pod: str
    codes: tuple[int | None, ...] = NO_CODE
    started: bool = True
    phase_failed: bool = False
    reason: str = ""
    oom: bool = False
    deleted: str = ""
    target: str = ""
    intent: str = ""
    action: str = ""
    in_a_row: int = 0
    late: bool = False
    cordoned: bool = False
    out_of_service: bool = False
    policy: str = "Fence"

    def look(self, code: int | None, record: str, where: str) -> Evidence:
        """What the operator sees of it. A record nobody needs is not asked for."""
        failure: dict[str, Any] = {
            "nodeLost": {"policy": self.policy},
            "startTimeoutSeconds": 30 if self.late else 600,
            "progressDeadlineSeconds": 30,
        }
        if self.action:
            failure["rules"] = [rule(self.action, *CODES[1:])]
        seen = evidence(
            self._pod(code),
            _KNOWN[record],
            intent=StopIntent(self.intent),
            bound=self.pod != "absent",
            streak=self.in_a_row,
            silent=60,
            node=self._node(where),
            heard=60 if self.late else 10,
            **failure,
        )
        if record == "store down" and not seen.ending:
            return evidence_without_record(seen)
        return seen

    def _pod(self, code: int | None) -> PodView | None:
        if self.pod in ("absent", "gone"):
            return None
        fields: dict[str, Any] = {"reason": self.reason, "deleted": _DELETED[self.deleted]}
        if self.target:
            fields["conditions"] = (condition(self.target, "SomeReason"),)
        if self.pod == "unplaced":
            return pod(None, phase="Pending", node="", **fields)
        if self.pod == "starting":
            return pod(waiting("ContainerCreating"), phase="Pending", **fields)
        if self.pod == "running":
            return pod(RUNNING, **fields)
        phase = "Failed" if self.phase_failed or code != 0 else "Succeeded"
        if code is None:
            return pod(None, phase=phase, **fields)
        return pod(ended(code, "OOMKilled" if self.oom else ""), phase=phase, **fields)

    def _node(self, where: str) -> NodeKnowledge:
        if where == "gone":
            return None
        ready = "Unknown" if where == "unreachable" else "True"
        return node(ready, cordoned=self.cordoned, out_of_service=self.out_of_service)


def evidence_without_record(seen: Evidence) -> Evidence:
    """The same attempt as long as nobody had a reason to ask the store."""
    fields = {name: getattr(seen, name) for name in seen.__dataclass_fields__}
    return Evidence(**{**fields, "exit": NOT_ASKED})


def _exited(name: str = "", codes: tuple[int | None, ...] = CODES, **fields: Any) -> Situation:
    return Situation(f"exited, {name}" if name else "exited", "ended", codes, **fields)


def _rejected(name: str, **fields: Any) -> Situation:
    return Situation(f"never started, {name}", "ended", started=False, **fields)


def _unstarted(name: str, pod_is: str, **fields: Any) -> Situation:
    return Situation(name, pod_is, started=False, **fields)


_INTENTS = ("delete", "suspend", "stop", "hung", "startError")

SITUATIONS = (
    _exited(),
    _exited("deleted", deleted="deleted"),
    _exited("deleted and overdue", FEW, deleted="overdue"),
    _exited("DisruptionTarget", target="DisruptionTarget"),
    _exited("TerminationTarget", FEW, target="TerminationTarget"),
    _exited("reason Terminated", FEW, reason="Terminated"),
    _exited("reason Terminated, Failed", reason="Terminated", phase_failed=True),
    _exited("reason NodeShutdown, Failed", FEW, reason="NodeShutdown", phase_failed=True),
    _exited("reason Preempting, Failed", FEW, reason="Preempting", phase_failed=True),
    _exited("reason NodeLost, Failed", FEW, reason="NodeLost", phase_failed=True),
    _exited("reason Evicted, Failed", reason="Evicted", phase_failed=True),
    _exited("reason unheard of", FEW, reason="SomethingNew"),
    _exited("OOMKilled", (137,), oom=True),
    _exited("OOMKilled, deleted", (137,), oom=True, deleted="deleted"),
    _exited("OOMKilled, DisruptionTarget", (137,), oom=True, target="DisruptionTarget"),
    _exited("OOMKilled, rule Ignore", (137,), oom=True, action="Ignore"),
    _exited("tenth ending in a row", FEW, in_a_row=9),
    _exited("rule FailTrial", action="FailTrial"),
    *(
        _exited(f"rule {action}", FEW, action=action)
        for action in ("FailExperiment", "Ignore", "Count")
    ),
    _exited("deleted, rule FailTrial", FEW, deleted="deleted", action="FailTrial"),
    _exited("DisruptionTarget, rule Ignore", (1,), target="DisruptionTarget", action="Ignore"),
    *(_exited(f"intent {intent}", (0, 137), intent=intent) for intent in _INTENTS),
    _exited(
        "intent suspend, DisruptionTarget", (0, 143), intent="suspend", target="DisruptionTarget"
    ),
    _rejected("reason OutOfcpu", reason="OutOfcpu"),
    _rejected("reason OutOfexample.com/gpu", reason="OutOfexample.com/gpu"),
    _rejected("reason NodeAffinity", reason="NodeAffinity"),
    _rejected("reason UnexpectedAdmissionError", reason="UnexpectedAdmissionError"),
    _rejected("reason NodeShutdown", reason="NodeShutdown"),
    _rejected("reason Preempting", reason="Preempting"),
    _rejected("reason Evicted", reason="Evicted"),
    _rejected("reason Evicted, DisruptionTarget", reason="Evicted", target="DisruptionTarget"),
    _rejected("reason NodeLost", reason="NodeLost"),
    _rejected("reason unheard of", reason="SomethingNew"),
    _rejected("intent startError", intent="startError"),
    Situation("gone", "gone"),
    Situation("gone, tenth ending in a row", "gone", in_a_row=9),
    *(Situation(f"gone, intent {intent}", "gone", intent=intent) for intent in _INTENTS),
    _unstarted("not created", "absent"),
    _unstarted("unplaced", "unplaced"),
    _unstarted("unplaced, deleted", "unplaced", deleted="deleted"),
    _unstarted(
        "unplaced, deleted, TerminationTarget",
        "unplaced",
        deleted="deleted",
        target="TerminationTarget",
    ),
    _unstarted("starting", "starting"),
    _unstarted("starting, on a cordoned node", "starting", cordoned=True),
    _unstarted("starting for too long", "starting", late=True),
    _unstarted("starting for too long, on a cordoned node", "starting", late=True, cordoned=True),
    _unstarted(
        "starting for too long, intent startError", "starting", late=True, intent="startError"
    ),
    _unstarted("starting, deleted", "starting", deleted="deleted"),
    _unstarted("starting, overdue", "starting", deleted="overdue"),
    Situation("running", "running"),
    Situation("running, silent for too long", "running", late=True),
    Situation("running, silent for too long, intent hung", "running", late=True, intent="hung"),
    Situation("running, DisruptionTarget", "running", target="DisruptionTarget"),
    Situation("running, TerminationTarget", "running", target="TerminationTarget"),
    Situation("running on a cordoned node", "running", cordoned=True),
    Situation(
        "running on a cordoned node, silent for too long", "running", cordoned=True, late=True
    ),
    Situation("running, intent delete", "running", intent="delete"),
    Situation(
        "running on a cordoned node, intent delete", "running", cordoned=True, intent="delete"
    ),
    Situation("terminating", "running", deleted="deleted"),
    Situation(
        "terminating, DisruptionTarget", "running", deleted="deleted", target="DisruptionTarget"
    ),
    Situation("terminating, silent for too long", "running", deleted="deleted", late=True),
    Situation("overdue", "running", deleted="overdue"),
    Situation("overdue, policy Wait", "running", deleted="overdue", policy="Wait"),
    Situation("overdue, out of service", "running", deleted="overdue", out_of_service=True),
    Situation("overdue, silent for too long", "running", deleted="overdue", late=True),
    *(
        Situation(f"overdue, intent {intent}", "running", deleted="overdue", intent=intent)
        for intent in _INTENTS
    ),
)


def cases() -> list[tuple[Situation, int | None, str, str]]:
    """Every situation with every exit code it may have, every exit record and every node."""
    return [
        (situation, code, record, where)
        for situation in SITUATIONS
        for code in situation.codes
        for record in RECORDS
        for where in NODES
    ]
