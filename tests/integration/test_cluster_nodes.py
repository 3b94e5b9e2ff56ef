"""What other tests rely on: a node can be lost and found again, and the audit log tells of Pods."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import audit
from tests.clusters import Cluster
from tests.integration.link import account_ready, attempt_pod
from tests.polling import eventually
from tune_operator.kube.client import Kube
from tune_operator.kube.resources import PODS, Resource

TOOL = Path(__file__).parents[2] / "dev" / "cluster"
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NODE, ANOTHER = "kwok-node-0", "kwok-node-1"
LOSS_SECONDS = 30


def tool(command: str, cluster: Cluster, *options: str) -> str:
    """Run the cluster tool; its answer."""
    done = subprocess.run(
        [sys.executable, str(TOOL), command, "--name", cluster.name, *options],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


async def nothing_to_say() -> str:
    return ""


async def test_a_node_is_lost_and_found(cluster: Cluster, kube: Kube, namespace: str) -> None:
    """A Pod that is deleted later, on another node, ends before the one on the lost node does."""
    await account_ready(kube, namespace)
    witness = attempt_pod(namespace, "elsewhere", {})
    witness["spec"]["nodeName"] = ANOTHER
    await kube.create(PODS, namespace, witness)
    body = attempt_pod(namespace, "there", {})
    body["spec"]["nodeName"] = NODE
    toleration = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    body["spec"]["tolerations"] = [{"key": "node.kubernetes.io/unreachable", **toleration}]
    pod = await kube.create(PODS, namespace, body)

    async def effects() -> set[str]:
        node = await kube.get(NODES, None, NODE)
        taints = node["spec"].get("taints", [])
        return {t["effect"] for t in taints if t["key"] == "node.kubernetes.io/unreachable"}

    async def deleted() -> bool:
        return "deletionTimestamp" in (await kube.get(PODS, namespace, "there"))["metadata"]

    async def lost() -> bool:
        return await effects() == {"NoSchedule", "NoExecute"} and await deleted()

    async def witnessed() -> bool:
        items, _ = await kube.list(PODS, namespace)
        return [item["metadata"]["name"] for item in items] == ["there"]

    async def found() -> bool:
        items, _ = await kube.list(PODS, namespace)
        return not items and not await effects()

    tool("stop-node", cluster, "--node", NODE)
    try:
        await eventually(lost, "the node is unreachable", LOSS_SECONDS, nothing_to_say)
        other = await kube.get(PODS, namespace, "elsewhere")
        await kube.delete(PODS, namespace, "elsewhere", uid=other["metadata"]["uid"])
        await eventually(witnessed, "the other Pod ended", LOSS_SECONDS, nothing_to_say)
        assert (await kube.get(PODS, namespace, "there"))["status"]["phase"] == "Running"
    finally:
        tool("start-node", cluster, "--node", NODE)
    await eventually(found, "the node ended its Pod", LOSS_SECONDS, nothing_to_say)
    assert [event["verb"] for event in history(cluster, pod)][:2] == ["create", "delete"]


def history(cluster: Cluster, pod: dict[str, Any]) -> list[dict[str, Any]]:
    """What the audit log says about this Pod, less who set its status."""
    meta = pod["metadata"]
    events = []
    for event in audit.events(cluster.audit):
        about = event["objectRef"]
        created = event.get("responseObject", {}).get("metadata", {})
        if (
            about["resource"] == "pods"
            and "subresource" not in about
            and about["namespace"] == meta["namespace"]
            and meta["name"] in (about.get("name"), created.get("name"))
        ):
            assert created.get("uid", meta["uid"]) == meta["uid"]
            events.append(event)
    return events
