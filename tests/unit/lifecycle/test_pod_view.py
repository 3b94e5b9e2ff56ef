"""Reading a Pod: realistic JSON in, the few facts the decision table needs out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.lifecycle.builders import (
    RUNNING,
    UID,
    at,
    condition,
    ended,
    pod,
    raw_pod,
    waiting,
)
from tune_operator.lifecycle.pod_view import MESSAGE_LIMIT, project

EVICTED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "digits-abcde-00003-2",
        "namespace": "team-a",
        "uid": "6c2b7bd3-0000-4000-8000-00000000000a",
        "resourceVersion": "1187",
        "creationTimestamp": "2026-03-01T11:58:00Z",
        "deletionTimestamp": "2026-03-01T12:01:50Z",
        "deletionGracePeriodSeconds": 110,
        "finalizers": ["example.com/other", "tuneoperator.io/attempt-tracking"],
        "labels": {
            "app": "mine",
            "tuneoperator.io/experiment": "digits",
            "tuneoperator.io/experiment-uid": UID,
            "tuneoperator.io/trial": "00003",
            "tuneoperator.io/attempt": "2",
        },
    },
    "spec": {"nodeName": "node-7", "containers": [{"name": "logs"}, {"name": "trainer"}]},
    "status": {
        "phase": "Running",
        "conditions": [
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
                "lastTransitionTime": "2026-03-01T12:00:00Z",
            },
            {
                "type": "PodScheduled",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": "2026-03-01T11:58:01Z",
            },
        ],
        "containerStatuses": [
            {"name": "logs", "state": {"running": {"startedAt": "2026-03-01T11:58:03Z"}}},
            {
                "name": "trainer",
                "restartCount": 0,
                "state": {
                    "terminated": {
                        "exitCode": 0,
                        "reason": "Completed",
                        "startedAt": "2026-03-01T11:58:04Z",
                        "finishedAt": "2026-03-01T12:00:03Z",
                        "message": "saved",
                    }
                },
            },
        ],
    },
}


def test_an_evicted_pod_whose_sidecar_still_runs() -> None:
    view = project(EVICTED)
    assert (view.namespace, view.name, view.resource_version) == (
        "team-a",
        "digits-abcde-00003-2",
        "1187",
    )
    assert view.uid == "6c2b7bd3-0000-4000-8000-00000000000a"
    assert (view.experiment, view.experiment_uid) == ("digits", UID)
    assert (view.trial, view.attempt, view.node) == ("00003", 2, "node-7")
    assert view.tracked
    assert view.deleted == datetime(2026, 3, 1, 12, 1, 50, tzinfo=UTC)
    assert view.scheduled == datetime(2026, 3, 1, 11, 58, 1, tzinfo=UTC)
    assert view.disruption_target == "EvictionByEvictionAPI"
    assert (view.trainer.started, view.trainer.exit_code) == (True, 0)
    assert view.trainer.message == "saved"
    assert view.terminal
    assert view.succeeded
    assert not view.failed


def test_a_pod_that_was_just_created() -> None:
    view = pod(phase="Pending", node="")
    assert (view.phase, view.node, view.scheduled) == ("Pending", "", None)
    assert not view.terminal
    assert not view.trainer.started


def test_a_pod_of_nobody_is_read_without_complaint() -> None:
    view = project({"metadata": {"name": "x", "namespace": "y", "uid": "z"}, "spec": {}})
    assert (view.experiment_uid, view.trial, view.attempt, view.tracked) == ("", "", 0, False)


@pytest.mark.parametrize("label", ["", "three", "-1", "1.5"])
def test_a_label_that_is_no_attempt_counts_as_none(label: str) -> None:
    raw = raw_pod(RUNNING)
    raw["metadata"]["labels"]["tuneoperator.io/attempt"] = label
    assert project(raw).attempt == 0


@pytest.mark.parametrize(
    ("state", "started"),
    [
        pytest.param(RUNNING, True, id="running"),
        pytest.param(ended(0), True, id="ran and ended"),
        pytest.param(ended(128, "StartError", started="1970-01-01T00:00:00Z"), False, id="epoch"),
        pytest.param(ended(137, "ContainerStatusUnknown", started=None), False, id="no instant"),
        pytest.param(waiting("ContainerCreating"), False, id="waiting"),
        pytest.param({}, False, id="no state"),
    ],
)
def test_whether_the_trainer_ever_started(state: Any, started: bool) -> None:
    assert pod(state).trainer.started is started


UNKNOWN = {"exitCode": 137, "reason": "ContainerStatusUnknown"}


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(
            {"restartCount": 1, "state": waiting("ContainerCreating")},
            id="shown as waiting again",
        ),
        pytest.param(
            {"state": waiting("ContainerCreating"), "lastState": {"terminated": UNKNOWN}},
            id="shown as waiting again while it is deleted",
        ),
        pytest.param(
            {
                "restartCount": 1,
                "state": {"terminated": UNKNOWN},
                "lastState": {"terminated": UNKNOWN},
            },
            id="shown as terminated twice",
        ),
        pytest.param(
            {"containerID": "containerd://1", "state": {"terminated": UNKNOWN}},
            id="shown as terminated, with the ID it had",
        ),
    ],
)
def test_a_trainer_whose_end_was_lost_did_start(status: dict[str, Any]) -> None:
    raw = raw_pod(phase="Failed", reason="Evicted")
    raw["status"]["containerStatuses"] = [{"name": "trainer", **status}]
    assert project(raw).trainer.started


@pytest.mark.parametrize(
    ("fields", "terminal", "succeeded"),
    [
        pytest.param({"trainer": RUNNING}, False, False, id="running"),
        pytest.param({"trainer": RUNNING, "deleted": at(9)}, False, False, id="terminating"),
        pytest.param({"trainer": ended(0)}, True, True, id="exit 0 before the phase"),
        pytest.param({"trainer": ended(2)}, True, False, id="exit 2 before the phase"),
        pytest.param({"trainer": ended(0), "phase": "Failed"}, True, False, id="phase wins"),
        pytest.param({"phase": "Succeeded"}, True, True, id="phase alone"),
        pytest.param({"phase": "Failed"}, True, False, id="rejected"),
        pytest.param(
            {"phase": "Pending", "node": "", "deleted": at(-1)}, True, False, id="never placed"
        ),
        pytest.param({"phase": "Unknown", "trainer": RUNNING}, False, False, id="node silent"),
    ],
)
def test_the_end_of_an_attempt(fields: Any, terminal: bool, succeeded: bool) -> None:
    view = pod(**fields)
    assert (view.terminal, view.succeeded) == (terminal, succeeded)
    assert view.failed is (terminal and not succeeded)


def test_only_a_condition_that_is_true_is_a_sign() -> None:
    view = pod(RUNNING, conditions=(condition("DisruptionTarget", "X", status="False"),))
    assert view.disruption_target == ""
    view = pod(RUNNING, conditions=(condition("TerminationTarget"),))
    assert view.termination_target == "TerminationTarget"


def test_why_a_pod_has_no_node() -> None:
    no_room = condition("PodScheduled", "Unschedulable", status="False") | {"message": "0/3 nodes"}
    assert pod(node="", conditions=(no_room,)).unschedulable == "0/3 nodes"
    gated = condition("PodScheduled", "SchedulingGated", status="False")
    view = pod(node="", conditions=(gated,))
    assert view.gated
    assert view.unschedulable == ""


def test_messages_are_cut_where_they_say_least() -> None:
    long = ended(1)
    long["terminated"]["message"] = "Traceback" + "." * MESSAGE_LIMIT + "ValueError"
    view = pod(long, phase="Failed", reason="X", message="first" + "." * MESSAGE_LIMIT)
    assert view.trainer.message.endswith("ValueError")
    assert view.message.startswith("first")
    assert len(view.trainer.message) == len(view.message) == MESSAGE_LIMIT


def test_a_view_that_tells_nothing_new_is_equal() -> None:
    raw = raw_pod(RUNNING)
    other = raw_pod(RUNNING)
    other["metadata"]["annotations"] = {"noise": "1"}
    other["status"]["hostIP"] = "10.0.0.1"
    assert project(raw) == project(other)


def test_finalizers_of_others_are_named() -> None:
    raw = raw_pod()
    raw["metadata"]["finalizers"].append("example.com/x")
    assert project(raw).held_by == ("example.com/x",)
