"""Fake nodes, whose Pods play what their annotations say: all of the kwok flavour's nodes.

The real flavour has one too, for no Pods: a cluster all of whose nodes are gone takes that for its
own sickness, taints none of them and evicts nobody.
"""

from typing import Any

from .controlplane import NODE_LEASE_SECONDS, in_namespace
from .health import answers
from .kubectl import Kubectl
from .paths import HERE, ClusterPaths
from .plan import Plan
from .processes import Component

STAGES = HERE / "kwok-stages.yaml"
# Nodes without it are nobody's: a test that makes one plays its kubelet itself.
ANNOTATION = "kwok.x-k8s.io/node"
WITNESS = "witness"
LEASES = ("lease", "--namespace", "kube-node-lease")
# With it a node has no kubelet. kwok also leaves a node alone whose lease another holds, but its
# Pods only if it started its two parts in the right order, which it leaves to chance.
OUT_OF_REACH = "tune.dev/out-of-reach"


def component(paths: ClusterPaths, plan: Plan) -> Component:
    """The kwok controller."""
    address = f"{plan.host}:{plan.ports['kwok']}"
    command = [
        str(paths.bin / "kwok"),
        f"--kubeconfig={paths.kubeconfig}",
        f"--config={STAGES}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
        f"--manage-nodes-with-label-selector=!{OUT_OF_REACH}",
        f"--node-lease-duration-seconds={NODE_LEASE_SECONDS}",
        "--node-ip=127.0.0.1",
        f"--server-address={address}",
    ]
    # Without its own folder kwok would read a configuration in the user's home.
    environment = {"KWOK_WORKDIR": str(paths.run / "kwok"), "HOME": str(paths.run)}
    files = [STAGES, paths.kubeconfig]
    ready = answers(f"http://{address}/healthz")
    return Component("kwok", in_namespace(plan, command), environment, files, ready)


def node(name: str) -> dict[str, Any]:
    """A fake node that is never full."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {ANNOTATION: "fake"},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
            },
        },
    }


def witness() -> dict[str, Any]:
    """A fake node that takes no Pod."""
    taint = {"key": "tune.dev/witness", "effect": "NoSchedule"}
    return {**node(WITNESS), "spec": {"taints": [taint]}}


def release_nodes(kubectl: Kubectl) -> None:
    """Drop the node leases of an earlier kwok process.

    Each process is a holder of its own; a new one would leave the nodes and their Pods alone
    until the old one's leases end.
    """
    kubectl.try_run("delete", *LEASES, "--all")


def nodes(count: int) -> list[dict[str, Any]]:
    """Nodes kwok-node-0 to kwok-node-<count - 1>."""
    return [node(f"kwok-node-{index}") for index in range(count)]


def ensure_nodes(kubectl: Kubectl, wanted: list[dict[str, Any]]) -> None:
    """Make fake nodes exist and be Ready."""
    kubectl.apply(wanted)
    for name in _out_of_reach(kubectl):
        start_node(kubectl, name)
    names = [item["metadata"]["name"] for item in wanted]
    # The kind is named, so that one node is a list as well.
    ready = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}'
    expected = " ".join(["True"] * len(names))
    command = ["get", "node", "-l", f"kubernetes.io/hostname in ({','.join(names)})"]
    kubectl.wait("fake nodes Ready", expected, *command, "-o", f"jsonpath={ready}")


def stop_node(kubectl: Kubectl, name: str) -> None:
    """Put a fake node out of reach, its Pods included: their deletion ends nothing any more.

    Raises:
        ClusterError: there is no such node.
    """
    kubectl.run("label", "node", name, "--overwrite", f"{OUT_OF_REACH}=true")


def start_node(kubectl: Kubectl, name: str) -> None:
    """End what `stop_node` began; the node is Ready within seconds.

    Raises:
        ClusterError: there is no such node.
    """
    kubectl.run("label", "node", name, f"{OUT_OF_REACH}-")


def _out_of_reach(kubectl: Kubectl) -> list[str]:
    names = "jsonpath={.items[*].metadata.name}"
    return kubectl.run("get", "node", "-l", OUT_OF_REACH, "-o", names).split()
