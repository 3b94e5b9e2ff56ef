"""Pods whose experiment is gone, whatever its name stands for now (DESIGN 5.2, sweep)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_operator.experiment.abandoned import release
from tune_operator.experiment.look import Looker
from tune_operator.experiment.retention import Retention
from tune_operator.experiment.run import Key, Run
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import KubeError, NotFound
from tune_operator.kube.executor import Executor
from tune_operator.kube.outcomes import first_error
from tune_operator.kube.resources import EXPERIMENTS
from tune_operator.lifecycle.pod_view import PodView


@dataclass(frozen=True)
class Strays:
    """Lets them go, and forgets their experiment with the last of them.

    ``seen`` holds the UIDs of experiments by the name their Pods carry.
    """

    kube: Kube
    looker: Looker
    executor: Executor[PodView]
    seen: dict[Key, set[str]]
    runs: dict[str, Run]
    retention: Retention

    async def release(self, key: Key, obj: Mapping[str, Any] | None) -> KubeError | None:
        """Release the Pods of this name that are not of ``obj``, the experiment of that name now.

        Returns why some are still there.
        """
        failed: KubeError | None = None
        current = obj["metadata"]["uid"] if obj else None
        for uid in sorted(self.seen.get(key, set()) - {current}):
            run = self.runs.get(uid)
            if run is not None and run.key != key:
                # A label that was edited or made up ends nobody's run: its own key looks after it.
                self._unsee(key, uid)
                continue
            pods = [p for p in self.looker.attempts(key[0], uid) if p.experiment == key[1]]
            if pods and await self._exists(key, uid):
                continue
            outcomes = await self.executor.run({}, release(pods))
            if error := first_error(outcomes):
                failed = error
                continue
            await self.forget(key, uid)
        return failed

    async def forget(self, key: Key, uid: str) -> None:
        """Nothing of this experiment is left to look after: its store is let go."""
        self._unsee(key, uid)
        run = self.runs.pop(uid, None)
        await self.retention.forget(uid)
        if run is not None and run.store is not None:
            await run.store.close()

    async def _exists(self, key: Key, uid: str) -> bool:
        try:
            live = await self.kube.get(EXPERIMENTS, *key)
        except NotFound:
            return False
        return bool(live["metadata"]["uid"] == uid)

    def _unsee(self, key: Key, uid: str) -> None:
        uids = self.seen.get(key, set())
        uids.discard(uid)
        if not uids:
            self.seen.pop(key, None)
