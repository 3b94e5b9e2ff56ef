"""The end of a whole namespace is the end of its experiments, told by their Pods.

Kubernetes deletes the Pods of a namespace first, and everything else when they are gone. Ours would
seem to be taken away by a stranger, and finalizers that wait for a store, which may have lived in
that namespace, would hold it for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from tune_operator.experiment.dry_run import Unanswered, would_create
from tune_operator.experiment.run import Run
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Forbidden, Invalid
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.runtime.clock import Clock


def unexplained(run: Run, pods: Sequence[PodView]) -> frozenset[str]:
    """UIDs of deleted Pods of which nobody has asked yet why they are."""
    return frozenset(pod.uid for pod in pods if pod.deleted is not None) - run.asked_about


async def ask(kube: Kube, run: Run, pods: Sequence[PodView], clock: Clock) -> None:
    """Find out whether their namespace ends with these Pods.

    Asked once for each Pod that is deleted, and again while the store does not answer: a namespace
    may follow Pods that were deleted for another reason. Without an answer they stay unexplained.
    """
    deleted = {pod.uid: pod.deleted for pod in pods if pod.deleted is not None}
    doubtful = unexplained(run, pods) or (deleted and run.storage.ok is False)
    try:
        if run.namespace_ends is None and doubtful and await _terminating(kube, run, clock):
            run.namespace_ends = min(deleted.values())
    except Unanswered:
        return
    run.asked_about = frozenset(deleted)


async def _terminating(kube: Kube, run: Run, clock: Clock) -> bool:
    """Whether nothing can be created there any more: that needs no right to read namespaces."""
    namespace, name = run.key
    body = {
        "metadata": {"name": f"{name}-any", "namespace": namespace},
        "spec": {"containers": [{"name": "any", "image": "any"}]},
    }
    try:
        await would_create(kube, run, body, clock)
    except Forbidden as error:
        return error.namespace_terminating
    except Invalid:
        return False
    return False
