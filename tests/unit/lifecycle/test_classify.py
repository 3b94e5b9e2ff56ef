"""Every row of the decision table: the evidence that selects it, and what just misses it."""

from dataclasses import dataclass
from typing import Any

import pytest

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
from tune_operator.lifecycle.classify import TABLE, Counts, Ends, Then, classify
from tune_operator.lifecycle.evidence import Evidence
from tune_operator.lifecycle.node_view import NodeUnread
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import StopIntent

TARGET = condition("DisruptionTarget", "EvictionByEvictionAPI")
SUSPENDED = condition("TerminationTarget", "JobSuspended")
WITHDRAWN = condition("DisruptionTarget", "EvictionByEvictionAPI", status="False")
UNSCHEDULABLE = condition("PodScheduled", "Unschedulable", status="False")
GATED = condition("PodScheduled", "SchedulingGated", status="False")


@dataclass(frozen=True)
class Case:
    name: str
    row: int
    cls: str
    then: Then
    counts: Counts
    given: Evidence
    reason: str | None = None


def case(
    name: str,
    row: int,
    cls: str,
    given: Evidence,
    *,
    then: Then = Then.WAIT,
    counts: Counts = Counts.NOTHING,
    reason: str | None = None,
) -> Case:
    return Case(name, row, cls, then, counts, given, reason)


def done(code: int = 0, **fields: Any) -> PodView:
    """A Pod whose only container has ended."""
    reason = str(fields.pop("why", ""))
    phase = "Succeeded" if code == 0 else "Failed"
    return pod(ended(code, reason), **{"phase": phase, **fields})


def completed(name: str, given: Evidence) -> Case:
    return case(name, 2, "completed", given, then=Then.COMPLETE)


def stopped(name: str, given: Evidence, cls: str = "stopped") -> Case:
    failed = cls == "failed"
    then, counts = (Then.RESUME, Counts.FAILURE) if failed else (Then.STOPPED, Counts.NOTHING)
    return case(name, 3, cls, given, then=then, counts=counts)


def over(name: str, row: int, cls: str, counts: Counts, given: Evidence, reason: str = "") -> Case:
    return case(name, row, cls, given, then=Then.RESUME, counts=counts, reason=reason or None)


def preempted(name: str, row: int, given: Evidence, reason: str = "") -> Case:
    return over(name, row, "preempted", Counts.DISRUPTION, given, reason)


def failed(name: str, row: int, given: Evidence, reason: str = "") -> Case:
    return over(name, row, "failed", Counts.FAILURE, given, reason)


def rejected(name: str, row: int, given: Evidence, reason: str = "") -> Case:
    return over(name, row, "rejected", Counts.INFRASTRUCTURE, given, reason)


def interrupted(name: str, given: Evidence) -> Case:
    return over(name, 9, "interrupted", Counts.NOTHING, given)


def overdue(**fields: Any) -> Evidence:
    """A Pod that outlives its grace, with an exit record that was looked for."""
    given = {"known": None, "deleted": at(-31), **fields}
    view = pod(given.pop("trainer", RUNNING), deleted=given.pop("deleted"))
    return evidence(view, **given)


def lost(name: str, given: Evidence, counts: Counts = Counts.DISRUPTION) -> Case:
    return case(name, 7, "lost", given, then=Then.FENCE, counts=counts, reason="NodeUnreachable")


def announced(name: str, given: Evidence, then: Then = Then.CHECKPOINT) -> Case:
    return case(name, 21, "running", given, then=then)


SILENT, FRESHLY_SILENT = node("Unknown", age=61), node("Unknown", age=59)
DEADLINE: dict[str, Any] = {"progressDeadlineSeconds": 100}
SIDECAR = {"name": "logs", "state": RUNNING}
CASES = [
    # 2: a record Completed wins over anything the Pod says.
    completed("2 completed, exit 0", evidence(done(), COMPLETED)),
    completed("2 over exit code 1", evidence(done(1), COMPLETED)),
    completed("2 over 137", evidence(done(137), COMPLETED)),
    completed("2 over OOMKilled", evidence(done(137, why="OOMKilled"), COMPLETED)),
    completed("2 over an eviction", evidence(done(conditions=(TARGET,)), COMPLETED)),
    completed("2 over own disk limit", evidence(done(1, reason="Evicted"), COMPLETED)),
    completed("2 over exit code 75", evidence(done(75), COMPLETED)),
    completed("2 over a stop intent", evidence(done(), COMPLETED, intent=StopIntent.DELETE)),
    completed("2 for a Pod that is gone", evidence(None, COMPLETED)),
    completed("2 before the process exits", evidence(pod(RUNNING), COMPLETED)),
    completed("2 while terminating", evidence(pod(RUNNING, deleted=at(20)), COMPLETED)),
    # 3: stop intents.
    stopped("3 delete, saved", evidence(done(), INTERRUPTED, intent=StopIntent.DELETE)),
    stopped("3 delete, killed", evidence(done(137), None, intent=StopIntent.DELETE)),
    stopped("3 delete, gone", evidence(None, None, intent=StopIntent.DELETE)),
    stopped("3 delete, evicted", evidence(done(conditions=(TARGET,)), intent=StopIntent.DELETE)),
    stopped("3 suspend", evidence(done(), INTERRUPTED, intent=StopIntent.SUSPEND)),
    stopped("3 stop, by directive", evidence(done(), STOPPED, intent=StopIntent.STOP)),
    stopped("3 stop, but it crashed", evidence(done(1), FAILED, intent=StopIntent.STOP)),
    stopped("3 hung, killed", evidence(done(137), None, intent=StopIntent.HUNG), "failed"),
    stopped("3 hung, saved", evidence(done(), INTERRUPTED, intent=StopIntent.HUNG), "failed"),
    stopped("3 start error", evidence(done(1), intent=StopIntent.START_ERROR), "failed"),
    stopped("3 start error, gone", evidence(None, intent=StopIntent.START_ERROR), "failed"),
    case(
        "3 needs an end: running with an intent",
        24,
        "running",
        evidence(pod(RUNNING), NOT_ASKED, intent=StopIntent.DELETE),
    ),
    # 4 and 5: terminating.
    case("4 terminating", 4, "terminating", evidence(pod(RUNNING, deleted=at(20)), NOT_ASKED)),
    case("4 at the last moment", 4, "terminating", evidence(pod(RUNNING, deleted=at(-30)))),
    case("5 overdue", 5, "terminating", evidence(pod(RUNNING, deleted=at(-31))), reason="Overdue"),
    case("5 its node is well", 5, "terminating", overdue(node=node()), reason="Overdue"),
    case("5 its node is not ready, so it is heard", 5, "terminating", overdue(node=node("False"))),
    case(
        "5 nodes may not be read",
        5,
        "terminating",
        overdue(node=NodeUnread.NOT_PERMITTED),
    ),
    case("5 unreachable, but not for long", 5, "terminating", overdue(node=FRESHLY_SILENT)),
    case(
        "5 unreachable, policy Wait",
        5,
        "terminating",
        overdue(node=SILENT, nodeLost={"policy": "Wait"}),
    ),
    case(
        "5 unreachable for less than the experiment bears",
        5,
        "terminating",
        overdue(node=SILENT, nodeLost={"timeoutSeconds": 62}),
    ),
    # 6 and 7: the node is lost.
    case("6 node gone", 6, "terminating", overdue(node=None), reason="NodeGone"),
    case(
        "6 out of service and silent",
        6,
        "terminating",
        overdue(node=node("Unknown", out_of_service=True)),
    ),
    case(
        "6 out of service and not ready",
        6,
        "terminating",
        overdue(node=node("False", out_of_service=True)),
    ),
    case(
        "6 not when ready: the taint is a mistake",
        5,
        "terminating",
        overdue(node=node(out_of_service=True)),
    ),
    case(
        "6 policy Wait waits too", 6, "terminating", overdue(node=None, nodeLost={"policy": "Wait"})
    ),
    case("6 not before it is overdue", 4, "terminating", overdue(node=None, deleted=at(-30))),
    case(
        "6 gone with its node: Pod GC marked it",
        11,
        "preempted",
        evidence(pod(ended(137), phase="Failed", deleted=at(-60), conditions=(TARGET,)), node=None),
        then=Then.RESUME,
        counts=Counts.DISRUPTION,
    ),
    lost("7 unreachable for long enough", overdue(node=SILENT)),
    lost("7 at the very second", overdue(node=node("Unknown", age=60))),
    lost("7 although it saved", overdue(node=SILENT, known=INTERRUPTED)),
    lost("7 although it failed", overdue(node=SILENT, known=FAILED)),
    lost("7 never started", overdue(node=SILENT, trainer=waiting("ContainerCreating"))),
    lost("7 delete", overdue(node=SILENT, intent=StopIntent.DELETE), Counts.NOTHING),
    lost("7 suspend", overdue(node=SILENT, intent=StopIntent.SUSPEND), Counts.NOTHING),
    lost("7 stop", overdue(node=SILENT, intent=StopIntent.STOP), Counts.NOTHING),
    lost("7 hung", overdue(node=SILENT, intent=StopIntent.HUNG), Counts.FAILURE),
    lost("7 start error", overdue(node=SILENT, intent=StopIntent.START_ERROR), Counts.FAILURE),
    completed("7 not when it completed", overdue(node=SILENT, known=COMPLETED)),
    case("7 not before it is overdue", 4, "terminating", overdue(node=SILENT, deleted=at(-30))),
    case(
        "4 never started, but placed",
        4,
        "terminating",
        evidence(pod(waiting("ContainerCreating"), phase="Pending", deleted=at(5))),
    ),
    # 8: exit 0 with a sign of disruption.
    preempted("8 deleted, saved", 8, evidence(done(deleted=at(-5)), INTERRUPTED), "Deleted"),
    preempted("8 deleted, no record", 8, evidence(done(deleted=at(-5)), None)),
    preempted("8 deleted, record Failed", 8, evidence(done(deleted=at(-5)), FAILED)),
    preempted(
        "8 DisruptionTarget", 8, evidence(done(conditions=(TARGET,))), "EvictionByEvictionAPI"
    ),
    preempted("8 TerminationTarget", 8, evidence(done(conditions=(SUSPENDED,))), "JobSuspended"),
    *(
        preempted(f"8 reason {word}", 8, evidence(done(reason=word), INTERRUPTED), word)
        for word in ("Terminated", "NodeShutdown", "Evicted", "Preempting")
    ),
    failed("8 not with a record Stopped", 10, evidence(done(deleted=at(-5)), STOPPED)),
    interrupted(
        "8 not by a withdrawn target", evidence(done(conditions=(WITHDRAWN,)), INTERRUPTED)
    ),
    interrupted("8 not by another reason", evidence(done(reason="NodeLost"), INTERRUPTED)),
    # 9: interrupted by a signal from nowhere.
    interrupted("9 exit 0", evidence(done(), INTERRUPTED)),
    interrupted("9 exit 143", evidence(done(143), INTERRUPTED)),
    interrupted("9 wins over exit 75", evidence(done(75), INTERRUPTED)),
    interrupted("9 gone", evidence(None, INTERRUPTED)),
    interrupted("9 the ninth in a row", evidence(done(), INTERRUPTED, streak=8)),
    failed("9 the tenth in a row", 9, evidence(done(), INTERRUPTED, streak=9), "Interrupted"),
    preempted("9 not when deleted", 16, evidence(done(143, deleted=at(-5)), INTERRUPTED)),
    # 10: exit 0 is not success.
    failed("10 no record in 30 s", 10, evidence(done(), None, silent=30), "NoResult"),
    failed("10 record Failed, at once", 10, evidence(done(), FAILED), "ValueError"),
    failed("10 record Stopped, no intent", 10, evidence(done(), STOPPED), "NoResult"),
    case("10 waits for the record", 10, "no result yet", evidence(done(), None, silent=29)),
    case("10 waits when first seen", 10, "no result yet", evidence(done(), None)),
    # 11: disruption wins over what the process said.
    preempted("11 eviction, 143", 11, evidence(done(143, conditions=(TARGET,)))),
    preempted("11 wins over OOM", 11, evidence(done(137, why="OOMKilled", conditions=(TARGET,)))),
    preempted("11 wins over 75", 11, evidence(done(75, conditions=(TARGET,)))),
    preempted(
        "11 wins over own disk limit", 11, evidence(done(1, reason="Evicted", conditions=(TARGET,)))
    ),
    preempted(
        "11 record Interrupted, 143", 11, evidence(done(143, conditions=(TARGET,)), INTERRUPTED)
    ),
    preempted("11 TerminationTarget", 11, evidence(done(143, conditions=(SUSPENDED,)))),
    preempted("11 never started", 11, evidence(pod(phase="Failed", conditions=(TARGET,)))),
    failed("11 not when withdrawn", 16, evidence(done(143, conditions=(WITHDRAWN,)))),
    # 12: rejected before it ever ran.
    *(
        rejected(f"12 {word}", 12, evidence(pod(phase="Failed", reason=word, message="no")), word)
        for word in (
            "Preempting",
            "NodeShutdown",
            "NodeAffinity",
            "UnexpectedAdmissionError",
            "OutOfcpu",
            "OutOfmemory",
            "OutOfexample.com/gpu",
            "Evicted",
        )
    ),
    rejected(
        "12 a container that never started",
        12,
        evidence(
            pod(
                ended(137, "ContainerStatusUnknown", started=None), phase="Failed", reason="Evicted"
            )
        ),
    ),
    failed("12 not after a record", 15, evidence(pod(phase="Failed", reason="Evicted"), FAILED)),
    failed(
        "12 not for other reasons", 16, evidence(pod(phase="Failed", reason="DeadlineExceeded"))
    ),
    # 13: taken away by the node.
    *(
        preempted(f"13 {word}", 13, evidence(done(143, reason=word)), word)
        for word in ("Preempting", "Terminated", "NodeShutdown", "NodeLost")
    ),
    failed("13 not before it started", 16, evidence(pod(phase="Failed", reason="NodeLost"))),
    failed("13 not for NodeAffinity", 16, evidence(done(143, reason="NodeAffinity"))),
    # 14: the SDK says that store or operator are unusable.
    rejected("14 exit 75", 14, evidence(done(75)), "Unusable"),
    rejected("14 exit 75, record Failed", 14, evidence(done(75), FAILED), "Unusable"),
    rejected("14 wins over a deletion", 14, evidence(done(75, deleted=at(-5)))),
    failed("14 not exit 74", 16, evidence(done(74))),
    # 15: its own disk limit, which would repeat.
    failed("15 own disk limit", 15, evidence(done(137, reason="Evicted")), "ResourceLimit"),
    # 16: everything else that failed.
    failed("16 exit 1", 16, evidence(done(1)), "Error"),
    failed("16 record Failed", 16, evidence(done(1), FAILED), "ValueError"),
    failed("16 143 without a sign", 16, evidence(done(143))),
    failed("16 137 without a sign", 16, evidence(done(137))),
    failed("16 OOMKilled", 16, evidence(done(137, why="OOMKilled")), "OOMKilled"),
    failed(
        "16 OOM before a deletion",
        16,
        evidence(done(137, why="OOMKilled", deleted=at(-5))),
        "OOMKilled",
    ),
    preempted("16 deleted", 16, evidence(done(143, deleted=at(-5))), "Deleted"),
    preempted(
        "16 deleted before it had a node",
        16,
        evidence(pod(phase="Pending", node="", deleted=at(-5))),
        "Deleted",
    ),
    failed(
        "16 the runtime could not start it",
        16,
        evidence(pod(ended(128, "StartError", started="1970-01-01T00:00:00Z"), phase="Failed")),
        "StartError",
    ),
    failed("16 gone, record Failed", 16, evidence(None, FAILED), "ValueError"),
    # 16 by rule: where no earlier row matched, and before any other reading of row 16.
    failed("16 no rule matches", 16, evidence(done(1), rules=[rule("Ignore", 2)]), "Error"),
    failed("16 Count", 16, evidence(done(143, deleted=at(-5)), rules=[rule("Count", 143)])),
    over(
        "16 Ignore",
        16,
        "failed",
        Counts.NOTHING,
        evidence(done(3), rules=[rule("Ignore", 3)]),
        "Error",
    ),
    over(
        "16 Ignore wins over OOMKilled",
        16,
        "failed",
        Counts.NOTHING,
        evidence(done(137, why="OOMKilled"), rules=[rule("Ignore", 137)]),
    ),
    failed(
        "16 FailTrial",
        16,
        evidence(done(42), FAILED, rules=[rule("FailTrial", 42)]),
        "FailTrialRule",
    ),
    failed(
        "16 FailExperiment",
        16,
        evidence(done(42), rules=[rule("FailExperiment", 42)]),
        "FailExperimentRule",
    ),
    failed(
        "16 the second rule",
        16,
        evidence(done(9), rules=[rule("Ignore", 8), rule("FailTrial", 9)]),
        "FailTrialRule",
    ),
    failed(
        "16 NotIn",
        16,
        evidence(done(9), rules=[rule("FailTrial", 8, operator="NotIn")]),
        "FailTrialRule",
    ),
    failed(
        "16 NotIn its own", 16, evidence(done(8), rules=[rule("FailTrial", 8, operator="NotIn")])
    ),
    preempted(
        "16 no rule for an eviction",
        11,
        evidence(done(42, conditions=(TARGET,)), rules=[rule("FailTrial", 42)]),
    ),
    rejected("16 no rule for exit 75", 14, evidence(done(75), rules=[rule("FailTrial", 75)])),
    failed(
        "16 no rule for exit 0",
        10,
        evidence(done(), silent=60, rules=[rule("FailTrial", 8, operator="NotIn")]),
        "NoResult",
    ),
    failed(
        "16 no rule without a code",
        16,
        evidence(None, FAILED, rules=[rule("FailTrial", 42, operator="NotIn")]),
        "ValueError",
    ),
    # 17 and 18: no Pod.
    over("17 gone without a record", 17, "lost", Counts.DISRUPTION, evidence(None, None)),
    case(
        "18 never created",
        18,
        "not created",
        evidence(None, NOT_ASKED, bound=False),
        then=Then.CREATE,
    ),
    # 19: not placed.
    case(
        "19 unschedulable",
        19,
        "pending",
        evidence(pod(phase="Pending", node="", conditions=(UNSCHEDULABLE,)), NOT_ASKED),
        reason="Unschedulable",
    ),
    case(
        "19 gated",
        19,
        "pending",
        evidence(pod(phase="Pending", node="", conditions=(GATED,)), NOT_ASKED),
        reason="SchedulingGated",
    ),
    case(
        "19 not looked at yet",
        19,
        "pending",
        evidence(pod(phase="Pending", node=""), NOT_ASKED),
        reason="Unscheduled",
    ),
    # 20: placed, not started.
    case(
        "20 starting",
        20,
        "starting",
        evidence(pod(waiting("ContainerCreating"), phase="Pending"), NOT_ASKED),
    ),
    case(
        "20 still starting after a minute: a ConfigMap may be missing",
        20,
        "starting",
        evidence(pod(waiting("ContainerCreating"), phase="Pending"), NOT_ASKED, now=at(61)),
        reason="SlowStart",
    ),
    case(
        "20 one second before the time-out",
        20,
        "starting",
        evidence(pod(waiting("ImagePullBackOff"), phase="Pending"), NOT_ASKED, now=at(539)),
        reason="ImagePullBackOff",
    ),
    case(
        "20 start timed out",
        20,
        "not started",
        evidence(pod(waiting("ImagePullBackOff"), phase="Pending"), NOT_ASKED, now=at(540)),
        then=Then.START_ERROR,
        reason="ImagePullBackOff",
    ),
    case(
        "20 hangs in an init container",
        20,
        "not started",
        evidence(pod(waiting("PodInitializing"), phase="Pending"), NOT_ASKED, now=at(600)),
        then=Then.START_ERROR,
    ),
    case(
        "20 not twice",
        20,
        "starting",
        evidence(
            pod(waiting("ImagePullBackOff"), phase="Pending"),
            NOT_ASKED,
            now=at(540),
            intent=StopIntent.START_ERROR,
        ),
    ),
    # 21: it will soon have to go.
    announced("21 DisruptionTarget", evidence(pod(RUNNING, conditions=(TARGET,)), NOT_ASKED)),
    announced("21 cordoned", evidence(pod(RUNNING), NOT_ASKED, node=node(cordoned=True))),
    announced(
        "21 a taint",
        evidence(pod(RUNNING), NOT_ASKED, node=node(taints=("karpenter.sh/disrupted",))),
    ),
    announced(
        "21 on a node that is silent",
        evidence(pod(RUNNING), NOT_ASKED, node=node("Unknown", cordoned=True)),
    ),
    announced(
        "21 it is being stopped and saves anyway",
        evidence(pod(RUNNING, conditions=(TARGET,)), NOT_ASKED, intent=StopIntent.STOP),
        Then.WAIT,
    ),
    case(
        "21 not when withdrawn",
        24,
        "running",
        evidence(pod(RUNNING, conditions=(WITHDRAWN,)), NOT_ASKED),
    ),
    case(
        "21 not when deleted: it was told",
        4,
        "terminating",
        evidence(pod(RUNNING, conditions=(TARGET,), deleted=at(20)), NOT_ASKED),
    ),
    # 22: nobody knows.
    case("22 node silent", 22, "unknown", evidence(pod(RUNNING), NOT_ASKED, node=SILENT)),
    case("22 node gone", 22, "unknown", evidence(pod(RUNNING), NOT_ASKED, node=None)),
    case(
        "22 wins over a missing report",
        22,
        "unknown",
        evidence(pod(RUNNING), NOT_ASKED, node=SILENT, heard=500, **DEADLINE),
    ),
    case(
        "22 not when not ready",
        24,
        "running",
        evidence(pod(RUNNING), NOT_ASKED, node=node("False")),
    ),
    # 23: it runs and says nothing. The trainer started 60 seconds ago.
    case(
        "23 no report in time",
        23,
        "hung",
        evidence(pod(RUNNING), NOT_ASKED, now=at(40), heard=60, **DEADLINE),
        then=Then.HUNG,
        reason="ProgressDeadlineExceeded",
    ),
    case(
        "23 counted from its start, whatever was heard before",
        24,
        "running",
        evidence(pod(RUNNING), NOT_ASKED, now=at(39), heard=500, **DEADLINE),
    ),
    case(
        "23 one second before",
        24,
        "running",
        evidence(pod(RUNNING), NOT_ASKED, now=at(99), heard=0, **DEADLINE),
    ),
    case("23 off", 24, "running", evidence(pod(RUNNING), NOT_ASKED, now=at(9999), heard=0)),
    case(
        "23 not while nobody could hear it",
        24,
        "running",
        evidence(pod(RUNNING), NOT_ASKED, now=at(9999), **DEADLINE),
    ),
    case(
        "23 not twice",
        24,
        "running",
        evidence(pod(RUNNING), NOT_ASKED, now=at(100), heard=0, intent=StopIntent.HUNG, **DEADLINE),
    ),
    # 24: all is well.
    case("24 running", 24, "running", evidence(pod(RUNNING), NOT_ASKED)),
    case(
        "24 running, its node is well",
        24,
        "running",
        evidence(pod(RUNNING), NOT_ASKED, node=node()),
    ),
    case("24 running, /complete with Failed", 24, "running", evidence(pod(RUNNING), FAILED)),
    # A sidecar that outlives the trainer, or fails beside it, does not matter.
    failed("sidecar: trainer failed", 16, evidence(pod(ended(1), others=(SIDECAR,)))),
    completed("sidecar: trainer completed", evidence(pod(ended(0), others=(SIDECAR,)), COMPLETED)),
    interrupted(
        "sidecar: trainer interrupted", evidence(pod(ended(0), others=(SIDECAR,)), INTERRUPTED)
    ),
    preempted(
        "sidecar: evicted, trainer over",
        8,
        evidence(pod(ended(0), others=(SIDECAR,), deleted=at(20)), INTERRUPTED),
    ),
    case(
        "sidecar: only the sidecar is over",
        24,
        "running",
        evidence(pod(RUNNING, others=({"name": "logs", "state": ended(1)},))),
    ),
]


@pytest.mark.parametrize("given", CASES, ids=lambda given: given.name)
def test_row(given: Case) -> None:
    verdict = classify(given.given)
    assert (verdict.row, verdict.cls, verdict.then, verdict.counts) == (
        given.row,
        given.cls,
        given.then,
        given.counts,
    )
    if given.reason is not None:
        assert verdict.reason == given.reason


def test_every_row_of_the_table_is_selected_by_some_case() -> None:
    assert {row.number for row in TABLE} == {given.row for given in CASES}


def test_rows_are_in_the_order_of_their_numbers() -> None:
    numbers = [row.number for row in TABLE]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("given", "when"),
    [
        pytest.param(evidence(pod(RUNNING, deleted=at(20))), at(50), id="4 until overdue"),
        pytest.param(evidence(done(), None, silent=10), at(20), id="10 until the record is late"),
        pytest.param(evidence(pod(waiting("X"), phase="Pending")), at(540), id="20 until start"),
        pytest.param(evidence(pod(RUNNING)), None, id="24 never"),
        pytest.param(overdue(node=node()), at(10), id="5 ask again about the node"),
        pytest.param(overdue(node=FRESHLY_SILENT), at(1), id="5 until the node is given up"),
        pytest.param(overdue(node=None), at(10), id="6 ask again about the node"),
        pytest.param(evidence(pod(RUNNING), node=SILENT), at(10), id="22 ask again"),
        pytest.param(evidence(pod(RUNNING), heard=20, **DEADLINE), at(80), id="24 until it hangs"),
        pytest.param(
            evidence(pod(RUNNING), heard=20, intent=StopIntent.SUSPEND, **DEADLINE),
            None,
            id="24 never when it is being deleted",
        ),
        pytest.param(
            evidence(pod(RUNNING), heard=20, intent=StopIntent.STOP, **DEADLINE),
            at(80),
            id="24 until it is too late to hear of its stop",
        ),
    ],
)
def test_time_alone_changes_a_verdict_when_it_says_so(given: Evidence, when: object) -> None:
    assert classify(given).look_again == when


def test_the_kubelets_words_reach_the_verdict() -> None:
    view = pod(waiting("ErrImagePull", "not found"), phase="Pending")
    assert classify(evidence(view, NOT_ASKED)).message == "not found"


def test_the_trainers_own_words_win_over_the_kubelets() -> None:
    assert classify(evidence(done(1), FAILED)).message == "bad batch"
    view = pod(ended(3), phase="Failed", reason="Error", message="pod says")
    assert classify(evidence(view)).message == "exit code 3: pod says"


def test_what_a_rule_ends() -> None:
    ends = {}
    for action in ("FailTrial", "FailExperiment", "Ignore", "Count"):
        ends[action] = classify(evidence(done(42), rules=[rule(action, 42)])).ends
    assert ends == {
        "FailTrial": Ends.TRIAL,
        "FailExperiment": Ends.EXPERIMENT,
        "Ignore": Ends.NOTHING,
        "Count": Ends.NOTHING,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            evidence(done(42), FAILED, rules=[rule("Ignore", 1), rule("FailTrial", 42)]),
            "exit code 42 matches spec.failure.rules[1] (FailTrial): ValueError: bad batch",
            id="a rule, and what the trainer said",
        ),
        pytest.param(
            evidence(done(42), rules=[rule("FailTrial", 42)]),
            "exit code 42 matches spec.failure.rules[0] (FailTrial): Error",
            id="a rule, and a trainer that said nothing",
        ),
        pytest.param(
            evidence(done(3), FAILED, rules=[rule("Ignore", 3)]),
            "exit code 3 matches spec.failure.rules[0] (Ignore): bad batch",
            id="a rule that ends nothing keeps the trainer's reason",
        ),
        pytest.param(
            evidence(done(137, why="OOMKilled")),
            "the trainer used more memory than its limit; raise its memory limit",
            id="what to do after an OOM, however the trainer was given",
        ),
        pytest.param(
            overdue(node=SILENT),
            "node node-1 is unreachable; Pod digits-abcde-00000-1 may still run there and is not "
            "heard",
            id="a zombie",
        ),
        pytest.param(
            evidence(pod(RUNNING), node=node(taints=("karpenter.sh/disrupted",))),
            "node node-1 has taint karpenter.sh/disrupted",
            id="why a checkpoint is asked for",
        ),
        pytest.param(
            evidence(pod(RUNNING, conditions=(TARGET,))),
            "Pod digits-abcde-00000-1 has DisruptionTarget EvictionByEvictionAPI",
            id="or a condition",
        ),
    ],
)
def test_what_people_read(given: Evidence, message: str) -> None:
    assert classify(given).message == message


@pytest.mark.parametrize(
    ("given", "line"),
    [
        pytest.param(evidence(pod(RUNNING), NOT_ASKED), "phase=Running", id="all is well"),
        pytest.param(
            evidence(
                done(143, reason="Evicted", deleted=at(-5), conditions=(TARGET,)),
                INTERRUPTED,
                intent=StopIntent.SUSPEND,
                streak=2,
                node=node("Unknown"),
            ),
            "phase=Failed exit=143 reason=Evicted deleted=2026-03-01T11:59:55Z "
            "target=EvictionByEvictionAPI node=node-1(Ready=Unknown) record=Interrupted "
            "intent=suspend streak=2",
            id="all at once",
        ),
        pytest.param(
            evidence(done(0), None), "phase=Succeeded exit=0 reason=Completed record=none"
        ),
        pytest.param(evidence(None, None, node=None), "phase=gone node=gone record=none"),
        pytest.param(evidence(None, NOT_ASKED, bound=False), "phase=absent"),
        pytest.param(
            evidence(done(1), UNDECIDED), "phase=Failed exit=1 reason=Error record=undecided"
        ),
        pytest.param(
            overdue(node=node("False", out_of_service=True)),
            "phase=Running deleted=2026-03-01T11:59:29Z node=node-1(out of service) record=none",
        ),
    ],
)
def test_the_evidence_in_one_line(given: Evidence, line: str) -> None:
    assert given.describe() == line


def test_a_trainer_whose_node_is_about_to_go_is_looked_at_again_when_it_hangs() -> None:
    """Only time tells; nothing else may happen on a cordoned node for hours."""
    given = evidence(
        pod(RUNNING), NOT_ASKED, node=node(cordoned=True), heard=10, progressDeadlineSeconds=60
    )
    assert classify(given).look_again == at(50)
