"""What the decision table reads of a Node: whether it answers, and whether it is about to go.

Nodes are optional knowledge. Without permission to read them every overdue Pod is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from tune_operator.lifecycle import instants

ANNOUNCING_TAINTS: Final = {
    "node.kubernetes.io/unschedulable": "cordoned: the first half of every drain "
    "(k8s.io/api/core/v1, well_known_taints.go)",
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler drains it for removal now "
    "(kubernetes/autoscaler, cluster-autoscaler/utils/taints/taints.go)",
    "karpenter.sh/disrupted": "Karpenter replaces or removes it, and drains it now "
    "(kubernetes-sigs/karpenter, pkg/apis/v1/taints.go)",
    "karpenter.sh/disruption": "the same before Karpenter 1.0 "
    "(kubernetes-sigs/karpenter, pkg/apis/v1beta1/taints.go)",
    "cloud.google.com/impending-node-termination": "GKE's notice of a preemption or maintenance "
    "(GoogleCloudPlatform/k8s-node-termination-handler, README.md)",
    "remediator.kubernetes.azure.com/unschedulable": "AKS drains it for a scheduled event such as "
    "Preempt (learn.microsoft.com/azure/aks/node-auto-drain)",
}
"""Taint → why it says that the Pods of its node will soon have to go, and where that is written.

Not among them, on purpose:
- ``DeletionCandidateOfClusterAutoscaler``: a thought that the autoscaler takes back at its next
  scan as often as not; a checkpoint at each would slow training. What it does is announced above.
- ``node.kubernetes.io/out-of-service`` and ``node.cloudprovider.kubernetes.io/shutdown``: put on
  nodes that are down already; nobody is left there to ask for a checkpoint.
- ``node.kubernetes.io/unreachable``, ``not-ready`` and the pressures: a state, which may pass.
- ``kubernetes.azure.com/scalesetpriority``, ``cloud.google.com/gke-spot`` and the like: what kind
  of node it is, all its life.
"""

ANNOUNCING_PREFIXES: Final = ("aws-node-termination-handler/",)
"""Spot interruption, rebalance, scheduled maintenance, scale-in: each a notice of AWS of its own
(aws/aws-node-termination-handler, pkg/node/node.go).
"""

OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"


class NodeUnread(Enum):
    """Why nothing is known of a node."""

    NOT_ASKED = "not asked"
    NOT_PERMITTED = "not permitted"


@dataclass(frozen=True)
class NodeView:
    """One node. ``ready`` is "True", "False" or "Unknown"; ``since`` is when it became so.

    ``taints`` are the keys of those that announce its end.
    """

    name: str
    resource_version: str
    ready: str = "True"
    since: datetime | None = None
    cordoned: bool = False
    taints: tuple[str, ...] = ()
    out_of_service: bool = False

    @property
    def unreachable(self) -> bool:
        """Its kubelet is not heard of. One that reports Ready=False is alive, though unwell."""
        return self.ready == "Unknown"

    @property
    def unreachable_since(self) -> datetime | None:
        """Since when its kubelet is not heard of; None while it is."""
        return self.since if self.unreachable else None

    @property
    def written_off(self) -> bool:
        """As good as gone: whoever sets the taint out-of-service vouches that the machine is off.

        Pod GC then ends the Pods that are to be deleted, but only while the node is not ready; a
        node that is ready carries the taint by mistake.
        """
        return self.out_of_service and self.ready != "True"

    @property
    def announcement(self) -> str:
        """What says that its Pods will soon have to go; empty if nothing does."""
        if self.taints:
            return f"node {self.name} has taint {self.taints[0]}"
        return f"node {self.name} is cordoned" if self.cordoned else ""


NodeKnowledge = NodeView | None | NodeUnread
"""A node, None (its object is gone, by a live read), or why we do not know."""


def project_node(node: Mapping[str, Any]) -> NodeView:
    """Read a raw Node."""
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    keys = [taint["key"] for taint in spec.get("taints") or []]
    return NodeView(
        name=meta["name"],
        resource_version=meta.get("resourceVersion", ""),
        # A node that never reported has no such condition: nobody heard of its kubelet.
        ready=ready.get("status", "Unknown"),
        since=instants.parse(ready.get("lastTransitionTime")),
        cordoned=bool(spec.get("unschedulable")),
        taints=tuple(sorted({key for key in keys if _announces(key)})),
        out_of_service=OUT_OF_SERVICE in keys,
    )


def _announces(key: str) -> bool:
    return key in ANNOUNCING_TAINTS or key.startswith(ANNOUNCING_PREFIXES)
