"""The end of a whole namespace is the end of its experiments, told by their Pods.

Kubernetes deletes the Pods of a namespace first, and everything else when they are gone. Ours would
seem to be taken away by a stranger, and finalizers that wait for a store, which may have lived in
that namespace, would hold it for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from tune_operator.experiment.run import Run
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Forbidden, Invalid
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle.pod_view import PodView


def unexplained(run: Run, pods: Sequence[PodView]) -> frozenset[str]:
    """UIDs of deleted Pods of which nobody has asked yet why they are."""
    return frozenset(pod.uid for pod in pods if pod.deleted is not None) - run.asked_about


async def ask(kube: Kube, run: Run, pods: Sequence[PodView]) -> None:
    """Find out whether their namespace ends with these Pods. Raises KubeError.

    Asked once for each Pod that is deleted, and again while the store does not answer: a namespace
    may follow Pods that were deleted for another reason.
    """
    deleted = {pod.uid: pod.deleted for pod in pods if pod.deleted is not None}
    doubtful = unexplained(run, pods) or (deleted and run.storage.ok is False)
    if run.namespace_ends is None and doubtful and await _terminating(kube, run):
        run.namespace_ends = min(deleted.values())
    run.asked_about = frozenset(deleted)


async def _terminating(kube: Kube, run: Run) -> bool:
    """Whether nothing can be created there any more: that needs no right to read namespaces."""
    namespace, name = run.key
    body = {
        "metadata": {"name": f"{name}-any", "namespace": namespace},
        "spec": {"containers": [{"name": "any", "image": "any"}]},
    }
    try:
        await kube.create(PODS, namespace, body, dry_run=True)
    except Forbidden as error:
        return error.namespace_terminating
    except Invalid:
        return False
    return False
