"""Why Pods of an experiment were deleted: found out before they are judged.

Taken for disruptions, Pods that go with their experiment or with their namespace would use up
budgets, and end a run for good that was only to be stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tune_operator.experiment import namespace_end
from tune_operator.experiment.dry_run import ask_again
from tune_operator.experiment.run import Key, Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.kube.client import Kube
from tune_operator.lifecycle.observation import Observation
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.runtime.clock import Clock
from tune_operator.runtime.workqueue import WorkQueue


@dataclass(frozen=True)
class DeletionCauses:
    """Asks, and keeps from judgement what nobody has answered for yet."""

    kube: Kube
    writer: StatusWriter
    queue: WorkQueue[Key]
    clock: Clock

    async def overtaken(self, run: Run, pods: Sequence[PodView]) -> bool:
        """Whether these Pods tell of an end that we had not heard of: then decide again.

        A foreground deletion marks the experiment before its Pods, the end of a namespace deletes
        them first; either way their events may come before that of the experiment.
        """
        if self.clock.monotonic() < run.ask_after:
            return False  # who is asked nothing yet stays unexplained
        if namespace_end.unexplained(run, pods) and await self.writer.reload(run):
            return True
        await namespace_end.ask(self.kube, run, pods, self.clock)
        return run.namespace_ends is not None

    def in_doubt(self, run: Run, observation: Observation) -> Observation:
        """Nobody said of some Pods why they were deleted: they are judged when somebody does."""
        unexplained = namespace_end.unexplained(run, observation.pods)
        if unexplained:
            ask_again(run, self.queue, self.clock)
        return replace(observation, unexplained=unexplained)
