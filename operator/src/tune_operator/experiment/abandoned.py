"""What is done for a deleted experiment that is not to be settled."""

from __future__ import annotations

from collections.abc import Sequence

from tune_operator.experiment.run import Run
from tune_operator.lifecycle.actions import Action, ReleasePod, RemoveExperimentFinalizer
from tune_operator.lifecycle.events import left_events
from tune_operator.lifecycle.pod_view import PodView


def abandon(run: Run, pods: Sequence[PodView]) -> list[Action]:
    """Its Pods end with their grace, it goes."""
    return [*release(pods), RemoveExperimentFinalizer(*run.key, run.uid)]


def give_up(run: Run, pods: Sequence[PodView]) -> list[Action]:
    """Nobody can say by which specification it should be settled: people are told what is left."""
    told = left_events(settled=False, uri=run.uri) if run.durable.open_attempts else []
    return [*told, *abandon(run, pods)]


def release(pods: Sequence[PodView]) -> list[Action]:
    """Nothing waits for these Pods any more."""
    return [ReleasePod(pod.namespace, pod.name, pod.uid) for pod in pods]
