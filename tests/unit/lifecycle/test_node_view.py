"""Reading a Node: does it answer, and is it about to go."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tune_operator.lifecycle.node_view import ANNOUNCING_TAINTS, NodeView, project_node

SINCE = "2026-03-01T11:58:00Z"


def raw(
    ready: str | None = "True", *, taints: tuple[str, ...] = (), unschedulable: bool = False
) -> dict[str, Any]:
    """A node as the API server shows it."""
    conditions = [{"type": "MemoryPressure", "status": "False", "lastTransitionTime": SINCE}]
    if ready is not None:
        conditions.append({"type": "Ready", "status": ready, "lastTransitionTime": SINCE})
    spec: dict[str, Any] = {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]}
    if unschedulable:
        spec["unschedulable"] = True
    return {
        "metadata": {"name": "node-7", "resourceVersion": "11"},
        "spec": spec,
        "status": {"conditions": conditions},
    }


def test_a_node_that_is_well() -> None:
    assert project_node(raw()) == NodeView(
        "node-7", "11", ready="True", since=datetime(2026, 3, 1, 11, 58, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("ready", "unreachable"),
    [
        pytest.param("True", False, id="well"),
        pytest.param("False", False, id="unwell, but its kubelet says so"),
        pytest.param("Unknown", True, id="not heard of"),
        pytest.param(None, True, id="never heard of"),
    ],
)
def test_unreachable(ready: str | None, unreachable: bool) -> None:
    assert project_node(raw(ready)).unreachable is unreachable


def test_unreachable_since_its_kubelet_fell_silent() -> None:
    since = datetime(2026, 3, 1, 11, 58, tzinfo=UTC)
    assert project_node(raw("Unknown")).unreachable_since == since
    assert project_node(raw("False")).unreachable_since is None


def test_a_node_that_never_reported_is_not_counted_as_silent_since_ever() -> None:
    assert project_node(raw(None)).unreachable_since is None


def test_a_node_without_anything() -> None:
    view = project_node({"metadata": {"name": "node-7"}})
    assert (view.ready, view.since, view.cordoned, view.taints) == ("Unknown", None, False, ())


@pytest.mark.parametrize(
    ("taint", "announces"),
    [
        *(pytest.param(key, True, id=key) for key in ANNOUNCING_TAINTS),
        ("aws-node-termination-handler/spot-itn", True),
        ("aws-node-termination-handler/rebalance-recommendation", True),
        ("aws-node-termination-handler/scheduled-maintenance", True),
        ("aws-node-termination-handler/asg-lifecycle-termination", True),
        pytest.param("DeletionCandidateOfClusterAutoscaler", False, id="a thought, often dropped"),
        pytest.param("node.kubernetes.io/out-of-service", False, id="it is down already"),
        pytest.param("node.cloudprovider.kubernetes.io/shutdown", False, id="so it is here"),
        ("node.kubernetes.io/unreachable", False),
        ("node.kubernetes.io/not-ready", False),
        ("node.kubernetes.io/memory-pressure", False),
        pytest.param("kubernetes.azure.com/scalesetpriority", False, id="a spot node of Azure"),
        pytest.param("cloud.google.com/gke-spot", False, id="a spot node of Google"),
        ("nvidia.com/gpu", False),
        ("aws-node-termination-handler", False),
    ],
)
def test_which_taints_announce_the_end(taint: str, announces: bool) -> None:
    view = project_node(raw(taints=("example.com/other", taint)))
    assert view.taints == ((taint,) if announces else ())
    assert bool(view.announcement) is announces


def test_what_is_announced_is_told() -> None:
    cordoned = project_node(raw(unschedulable=True))
    assert cordoned.announcement == "node node-7 is cordoned"
    tainted = project_node(raw(taints=("karpenter.sh/disrupted",), unschedulable=True))
    assert tainted.announcement == "node node-7 has taint karpenter.sh/disrupted"
    assert project_node(raw()).announcement == ""


@pytest.mark.parametrize(
    ("ready", "written_off"),
    [
        pytest.param("True", False, id="ready: a mistake, it goes on"),
        pytest.param("False", True, id="not ready"),
        pytest.param("Unknown", True, id="silent"),
    ],
)
def test_out_of_service(ready: str, written_off: bool) -> None:
    view = project_node(raw(ready, taints=("node.kubernetes.io/out-of-service",)))
    assert view.out_of_service
    assert view.written_off is written_off


def test_a_heartbeat_changes_nothing_that_is_read() -> None:
    beat = raw()
    beat["status"]["conditions"][1]["lastHeartbeatTime"] = "2026-03-01T12:00:00Z"
    assert project_node(beat) == project_node(raw())
