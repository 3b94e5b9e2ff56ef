"""The kwok flavour's nodes: fake ones, whose Pods play what their annotations say."""

from typing import Any

from .health import answers
from .kubectl import Kubectl
from .paths import HERE, ClusterPaths
from .plan import Plan
from .processes import Component

STAGES = HERE / "kwok-stages.yaml"
# Nodes without it are nobody's: a test that makes one plays its kubelet itself.
ANNOTATION = "kwok.x-k8s.io/node"
LEASE_SECONDS = 40  # the kubelet's


def component(paths: ClusterPaths, plan: Plan) -> Component:
    """The kwok controller."""
    address = f"127.0.0.1:{plan.ports['kwok']}"
    command = [
        str(paths.bin / "kwok"),
        f"--kubeconfig={paths.kubeconfig}",
        f"--config={STAGES}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
        f"--node-lease-duration-seconds={LEASE_SECONDS}",
        "--node-ip=127.0.0.1",
        f"--server-address={address}",
    ]
    # Without its own folder kwok would read a configuration in the user's home.
    environment = {"KWOK_WORKDIR": str(paths.run / "kwok"), "HOME": str(paths.run)}
    files = [STAGES, paths.kubeconfig]
    return Component("kwok", command, environment, files, answers(f"http://{address}/healthz"))


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


def release_nodes(kubectl: Kubectl) -> None:
    """Drop the node leases of an earlier kwok process.

    Each process is a holder of its own; a new one would leave the nodes and their Pods alone
    until the old one's leases end.
    """
    kubectl.try_run("delete", "lease", "--all", "-n", "kube-node-lease")


def ensure_nodes(kubectl: Kubectl, count: int) -> None:
    """Make nodes kwok-node-0 to kwok-node-<count - 1> exist and be Ready."""
    names = [f"kwok-node-{index}" for index in range(count)]
    kubectl.apply([node(name) for name in names])
    ready = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}'
    expected = " ".join(["True"] * count)
    kubectl.wait("fake nodes Ready", expected, "get", "node", *names, "-o", f"jsonpath={ready}")
