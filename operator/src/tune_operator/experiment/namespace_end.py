"""The end of a whole namespace is the end of its experiments, told by their Pods.

Kubernetes deletes the Pods of a namespace first, and everything else when they are gone. Ours would
seem to be taken away by a stranger, and finalizers that wait for a store, which may have lived in
that namespace, would hold it for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tune_operator.experiment.run import Run
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Forbidden, Invalid
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle.observation import Experiment
from tune_operator.lifecycle.pod_view import PodView


async def seen_in(
    kube: Kube, run: Run, experiment: Experiment, pods: Sequence[PodView]
) -> Experiment:
    """The experiment, deleted if its namespace is. Raises KubeError.

    Asked once for each Pod that is deleted, and again while the store does not answer: a namespace
    may follow Pods that were deleted for another reason.
    """
    if experiment.deleted is not None:
        return experiment
    deleted = {pod.uid: pod.deleted for pod in pods if pod.deleted is not None}
    doubtful = not run.asked_about.issuperset(deleted) or (deleted and run.storage.ok is False)
    if run.namespace_ends is None and doubtful and await _terminating(kube, experiment):
        run.namespace_ends = min(deleted.values())
    run.asked_about = frozenset(deleted)
    return replace(experiment, deleted=run.namespace_ends)


async def _terminating(kube: Kube, experiment: Experiment) -> bool:
    """Whether nothing can be created there any more: that needs no right to read namespaces."""
    body = {
        "metadata": {"name": f"{experiment.name}-any", "namespace": experiment.namespace},
        "spec": {"containers": [{"name": "any", "image": "any"}]},
    }
    try:
        await kube.create(PODS, experiment.namespace, body, dry_run=True)
    except Forbidden as error:
        return error.namespace_terminating
    except Invalid:
        return False
    return False
