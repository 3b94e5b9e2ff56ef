"""The node of real training: announced to go, and cut off from its cluster."""

from collections.abc import Mapping
from typing import Any

import pytest
from minio import Minio

from dev.demo.target import NAMESPACE, RELEASE, SYSTEM_NAMESPACE
from tests.clusters import Cluster
from tests.e2e.node import Node
from tests.e2e.stage import BUCKET, PATIENCE, Stage
from tests.e2e.workload import slow, unruly
from tests.polling import soon
from tune_trainer.protocol.environment import EXIT_UNUSABLE

pytestmark = pytest.mark.timeout(240)

HOST_STORE = "host-storage"
"""Secret with the keys of the store that runs beside the cluster's Pods."""


def test_a_cordon_asks_for_a_checkpoint_and_interrupts_nothing(stage: Stage, node: Node) -> None:
    changes = {**slow(30, 0.4), "checkpoint": {"frequency": 0, "atEnd": True}}
    stage.apply("cordoned", **changes)
    stage.reaches("cordoned", 2)
    uid = stage.uid("cordoned")
    assert stage.committed("cordoned", uid) == []
    node.cordon()
    saved = soon(
        lambda: stage.committed("cordoned", uid),
        "a checkpoint that no frequency asked for",
        PATIENCE,
        lambda: stage.explain("cordoned"),
    )
    node.uncordon()
    stage.condition("cordoned", "Complete")
    assert stage.row("cordoned")["attempt"] == 1
    assert [ref.iteration for ref in stage.committed("cordoned", uid)] == [saved[0].iteration, 30]


@pytest.fixture
def storage(stage: Stage, cluster: Cluster) -> dict[str, Any]:
    """Section ``storage`` for a store that needs no kubelet.

    What a Service leads to is not ready any more when its node is cut off.
    """
    keys = {"AWS_ACCESS_KEY_ID": cluster.access_key, "AWS_SECRET_ACCESS_KEY": cluster.secret_key}
    stage.create("v1", "Secret", HOST_STORE, stringData=keys)
    rbac, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    stage.create(rbac, "Role", HOST_STORE, rules=[{**rule, "resourceNames": [HOST_STORE]}])
    stage.create(
        rbac,
        "RoleBinding",
        HOST_STORE,
        roleRef={"apiGroup": group, "kind": "Role", "name": HOST_STORE},
        subjects=[{"kind": "ServiceAccount", "name": RELEASE, "namespace": SYSTEM_NAMESPACE}],
    )
    return {
        "uri": f"s3://{BUCKET}/digits",
        "endpoint": cluster.minio_for_pods,
        "region": "us-east-1",
        "credentials": {"mode": "Secret", "secretRef": {"name": HOST_STORE}},
    }


@pytest.fixture
def beside(stage: Stage, cluster: Cluster) -> Stage:
    """The stage, looking into that store."""
    store = Minio(
        cluster.minio.removeprefix("http://"),
        access_key=cluster.access_key,
        secret_key=cluster.secret_key,
        secure=False,
    )
    if not store.bucket_exists(BUCKET):
        store.make_bucket(BUCKET)
    return stage.with_store(store)


def losable(storage: Mapping[str, Any], pace: float) -> dict[str, Any]:
    """16 iterations, saved each, that are slow in the first attempt only; given up soon."""
    changes = slow(16, 0, first_pace=pace)
    changes["failure"]["nodeLost"] = {"timeoutSeconds": 2}
    return {
        **changes,
        "checkpoint": {"frequency": 1, "atEnd": True},
        "stopGracePeriodSeconds": 11,
        "storage": dict(storage),
        "trainer": unruly(),
    }


def test_a_trainer_that_is_cut_off_is_given_up_and_refused(
    beside: Stage, node: Node, storage: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    # One that would go on for a while, and one that reaches its end before it is given up.
    beside.apply("cut-off", **losable(storage, 5))
    beside.apply("ended-alone", **losable(storage, 1.5))
    for name in ("cut-off", "ended-alone"):
        beside.reaches(name, 1)
    uid = beside.uid("cut-off")
    zombie = beside.pod("cut-off", "00000")
    task = beside.task(NAMESPACE, zombie, "trainer")
    node.cut_off()

    row = beside.attempt("cut-off", 2)
    last = row["lastInterruption"]
    assert (last["row"], last["class"], last["reason"]) == (7, "lost", "NodeUnreachable")
    assert (row["disruptions"], last["node"]) == (1, node.name)
    assert beside.line("cut-off")["DISRUPTIONS"] == "1"
    assert beside.get("cut-off")["status"]["live"]["00000"].startswith("2/")
    start = int(row["iteration"])
    beside.told(
        "cut-off",
        f"Pod {zombie} may still run there and is not heard",
        f"resumed as attempt 2 from the checkpoint of iteration {start}",
        "TrialNotScheduled",
    )
    beside.stops(task)
    newest = beside.committed("cut-off", uid)[-1]
    beside.commit_late("cut-off", uid, newest, 15)
    # The answer to its next report was a refusal.
    ended = ".status.containerStatuses[0].state.terminated.exitCode"
    with beside.sees(zombie, ended, EXIT_UNUSABLE):
        node.bring_back()
        beside.condition("cut-off", "Complete")

    row = beside.row("cut-off")
    assert (row["attempt"], row["disruptions"], row.get("failures", 0)) == (2, 1, 0)
    assert (row["iteration"], row["objectiveValue"]) == (16, undisturbed["objectiveValue"])
    second = [ref.iteration for ref in beside.committed("cut-off", uid) if ref.attempt == 2]
    # A save that finds the one before still on its way is left out, but never the first.
    assert (second[0], second[-1]) == (start + 1, 16), "it went on where the first was given up"

    beside.condition("ended-alone", "Complete")
    row = beside.row("ended-alone")
    assert (row["attempt"], row.get("disruptions", 0)) == (1, 0), "its own end is what counts"
    assert row["objectiveValue"] == undisturbed["objectiveValue"]
    for name in ("cut-off", "ended-alone"):
        beside.delete(name)
        beside.gone(name)
