"""The one place that writes an experiment's status, always on the version it was decided from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tune_operator.experiment.run import Run
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, KubeError, NotFound
from tune_operator.kube.resources import EXPERIMENTS
from tune_operator.obs.metrics import Metrics
from tune_operator.runtime.clock import Clock


class Known(Protocol):
    """The experiments as last seen."""

    def learn(self, obj: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take in an answer; returns the newest version known."""

    def forget(self, obj: Mapping[str, Any]) -> None:
        """It does not exist any more."""


@dataclass(frozen=True)
class StatusWriter:
    """Writes and remembers; ``objects`` are the experiments as last seen."""

    kube: Kube
    clock: Clock
    metrics: Metrics
    objects: Known

    async def write(self, run: Run, new: Mapping[str, Any]) -> None:
        """PUT /status: it checks UID and resourceVersion, where a merge patch ignores a wrong UID.

        Raises Conflict when somebody wrote in between, and other KubeErrors.
        """
        try:
            written = await self.kube.replace_status(EXPERIMENTS, {**run.obj, "status": dict(new)})
        except Conflict:
            self.metrics.status_writes.labels("conflict").inc()
            raise
        except KubeError:
            self.metrics.status_writes.labels("failed").inc()
            raise
        self.metrics.status_writes.labels("written").inc()
        run.written = self.clock.monotonic()
        self._remember(run, written)

    async def reload(self, run: Run) -> bool:
        """Read the object live: the cache may be old. Whether it was changed or is gone."""
        known = run.obj["metadata"]["resourceVersion"]
        try:
            newest = self._remember(run, await self.kube.get(EXPERIMENTS, *run.key))
        except NotFound:
            self.objects.forget(run.obj)
            return True
        return bool(newest["metadata"]["resourceVersion"] != known)

    def _remember(self, run: Run, obj: Mapping[str, Any]) -> Mapping[str, Any]:
        newest = self.objects.learn(obj)
        if newest["metadata"]["uid"] == run.uid:
            run.refresh(newest)
        return newest
