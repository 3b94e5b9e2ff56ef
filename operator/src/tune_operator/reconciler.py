"""One look at one experiment: observe, decide, write the status once, act.

Level-triggered: an event only says that it is time to look. A crash anywhere is repaired by the
next look, because intents are in the status before anything happens, and everything else is
observed again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_operator.experiment.accepted import Accepted
from tune_operator.experiment.claim import Displaced
from tune_operator.experiment.gates import REFUSED_SECONDS, STORE_RETRY_SECONDS, Gates
from tune_operator.experiment.look import Looker
from tune_operator.experiment.outcomes import note
from tune_operator.experiment.run import Key, Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, NotFound
from tune_operator.kube.executor import Executor
from tune_operator.kube.outcomes import Done
from tune_operator.kube.resources import EXPERIMENTS
from tune_operator.lifecycle import pod, status
from tune_operator.lifecycle.actions import (
    Action,
    AddExperimentFinalizer,
    CreatePod,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.lifecycle.conditions import Findings, alarms, conditions, merge
from tune_operator.lifecycle.decide import Decision, decide
from tune_operator.lifecycle.observation import Observation
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.runtime.clock import Clock
from tune_operator.runtime.workqueue import WorkQueue

logger = logging.getLogger(__name__)

DISPLACED_SECONDS = 15.0
"""Pause before a run is opened again that somebody else has opened meanwhile."""


@dataclass
class Reconciler:
    """Handles one key at a time; the workqueue sees to it that no key is handled twice at once.

    ``seen`` holds the UIDs of experiments by the name their Pods carry.
    """

    kube: Kube
    looker: Looker
    gates: Gates
    writer: StatusWriter
    executor: Executor[PodView]
    session: pod.Session
    queue: WorkQueue[Key]
    clock: Clock
    objects: dict[Key, Mapping[str, Any]]
    seen: dict[Key, set[str]]
    runs: dict[str, Run] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> None:
        """Look at one experiment. Errors of the API server are raised: the caller retries."""
        obj = self.objects.get(key)
        await self._release_strays(key, obj)
        if obj is None:
            return
        run = await self._run(key, obj)
        try:
            await self._step(run)
        except Conflict:
            # Somebody wrote in between, most often ourselves in a life before: read, decide again.
            await self.writer.reload(run)
            self.queue.add(key)
        except NotFound:
            # Its deletion may have been missed; if it is there after all, the caller retries.
            await self.writer.reload(run)
            raise
        except Displaced as displaced:
            logger.warning("left the run: %s", displaced)
            run.claim, run.claimed = None, False
            self.queue.add(key, after=DISPLACED_SECONDS)

    async def close(self) -> None:
        """Give the stores' connections back."""
        for uid, run in list(self.runs.items()):
            await self._forget(run.key, uid)

    async def _step(self, run: Run) -> None:
        deleting = bool(run.obj["metadata"].get("deletionTimestamp"))
        idle = deleting or run.durable.ended is not None
        accepted = self.gates.accept(run)
        if accepted is None:
            await (self._abandon(run) if deleting else self._refuse(run))
            return
        if idle:
            may_start = False
            if run.durable.open_attempts:
                await self.gates.open_store(run, accepted)
        else:
            may_start = await self.gates.try_pod(run, accepted)
            if not may_start and not run.durable.trials:
                await self._refuse(run)
                return
            if not accepted.experiment.has_finalizer:
                await self._act(run, [AddExperimentFinalizer(*run.key, run.uid)])
                return
            # A Pod refused later, after a change, must not stop what runs from being settled.
            may_start = await self.gates.claim(run, accepted) and may_start
            may_start = may_start and self.clock.monotonic() >= run.create_after
        observation = await self.looker.look(run, accepted, self.clock.now(), may_start=may_start)
        if run.store is not None and run.storage.ok is False:
            await self.gates.lose_store(run, run.storage)
        decision = decide(observation)
        self._log(decision)
        events = await self._write(run, observation, decision)
        actions = [*self._creates(accepted, decision), *decision.actions, *events]
        await self._act(run, actions)
        self._look_again(run, decision)

    async def _write(self, run: Run, observation: Observation, decision: Decision) -> list[Action]:
        """The one status write, unless nothing changed or mere progress has to wait.

        Returns the events of conditions that turned bad.
        """
        before = run.obj.get("status") or {}
        findings = Findings(run.acceptance, run.storage, run.name_conflict, run.quota)
        deleting = observation.experiment.deleted is not None
        found = conditions(
            decision.state, observation.total, findings, decision.verdicts, deleting=deleting
        )
        after = status.render(observation, decision.state, run.facts, found, before)
        events: list[Action] = [*alarms(before.get("conditions") or [], after["conditions"])]
        if after == before:
            return events
        wait = run.progress_wait(self.clock.monotonic())
        if not decision.urgent and not _conditions_differ(before, after) and wait > 0:
            # Nothing the caller does next depends on progress that was not written.
            self.queue.add(run.key, after=wait)
            return []
        await self.writer.write(run, after)
        return events

    async def _act(self, run: Run, actions: Sequence[Action]) -> None:
        outcomes = await self.executor.run(run.obj, actions)
        wait = note(run, outcomes, self.clock.monotonic())
        if wait is not None:
            self.queue.add(run.key, after=wait)

    def _creates(self, accepted: Accepted, decision: Decision) -> list[Action]:
        return [
            CreatePod(
                trial,
                attempt,
                pod.build(
                    accepted.experiment,
                    trial,
                    attempt,
                    accepted.searcher.config(int(trial)),
                    self.session,
                ),
            )
            for trial, attempt in decision.starts
        ]

    def _look_again(self, run: Run, decision: Decision) -> None:
        if decision.look_again is not None:
            wait = (decision.look_again - self.clock.now()).total_seconds()
            # Rows compare with "greater than": look just after the moment, not at it.
            self.queue.add(run.key, after=max(0.0, wait) + 0.1)
        pause = run.create_after - self.clock.monotonic()
        if pause > 0:
            self.queue.add(run.key, after=pause)
        if run.storage.ok is False and run.durable.ended is None:
            self.queue.add(run.key, after=STORE_RETRY_SECONDS)
        if run.acceptance.ok is False:
            self.queue.add(run.key, after=REFUSED_SECONDS)

    async def _refuse(self, run: Run) -> None:
        """Nothing can start: say why. Attempts that still run are left alone."""
        if run.accepted is not None:  # it was the Pod that was refused: that may change by itself
            self.queue.add(run.key, after=REFUSED_SECONDS)
        generation = run.obj["metadata"].get("generation", 0)
        before = run.obj.get("status") or {}
        found = conditions(run.durable, 0, Findings(run.acceptance), (), deleting=False)
        merged = merge(before.get("conditions") or [], found, generation, self.clock.now())
        after = {
            **before,
            "observedGeneration": generation,
            "conditions": merged,
            "state": "Rejected",
        }
        if after != before:
            await self.writer.write(run, after)
            events = alarms(before.get("conditions") or [], merged)
            await self._act(run, events)

    async def _abandon(self, run: Run) -> None:
        """A deleted object we cannot read any more: its Pods end with their grace, it goes."""
        pods = self.looker.pods.of(run.key[0], run.uid)
        actions: list[Action] = [ReleasePod(p.namespace, p.name, p.uid) for p in pods]
        actions.append(RemoveExperimentFinalizer(*run.key, run.uid))
        await self._act(run, actions)

    async def _release_strays(self, key: Key, obj: Mapping[str, Any] | None) -> None:
        """Pods whose experiment is gone, whatever its name stands for now (DESIGN 5.2, sweep)."""
        current = obj["metadata"]["uid"] if obj else None
        for uid in sorted(self.seen.get(key, set()) - {current}):
            run = self.runs.get(uid)
            if run is not None and run.key != key:
                # A label that was edited or made up ends nobody's run: its own key looks after it.
                self._unsee(key, uid)
                continue
            pods = [p for p in self.looker.pods.of(key[0], uid) if p.experiment == key[1]]
            if pods and await self._exists(key, uid):
                continue
            actions: list[Action] = [ReleasePod(p.namespace, p.name, p.uid) for p in pods]
            outcomes = await self.executor.run({}, actions)
            if not all(isinstance(outcome, Done) for outcome in outcomes):
                self.queue.retry(key)
                continue
            await self._forget(key, uid)

    async def _exists(self, key: Key, uid: str) -> bool:
        try:
            live = await self.kube.get(EXPERIMENTS, *key)
        except NotFound:
            return False
        return bool(live["metadata"]["uid"] == uid)

    async def _run(self, key: Key, obj: Mapping[str, Any]) -> Run:
        uid = obj["metadata"]["uid"]
        run = self.runs.get(uid)
        if run is None:
            run = self.runs[uid] = Run(key, uid, obj)
            self.seen.setdefault(key, set()).add(uid)
        run.refresh(obj)
        return run

    def _unsee(self, key: Key, uid: str) -> None:
        uids = self.seen.get(key, set())
        uids.discard(uid)
        if not uids:
            self.seen.pop(key, None)

    async def _forget(self, key: Key, uid: str) -> None:
        self._unsee(key, uid)
        run = self.runs.pop(uid, None)
        if run is not None and run.store is not None:
            await run.store.close()

    def _log(self, decision: Decision) -> None:
        if decision.gone:
            logger.info("nothing of the deleted experiment is left")
        for trial, verdict in decision.verdicts:
            if verdict.row not in _QUIET_ROWS:
                logger.info(
                    "trial %s attempt %d: row %d %s %s %s",
                    trial.name,
                    trial.attempt,
                    verdict.row,
                    verdict.cls,
                    verdict.reason,
                    verdict.message,
                )


_QUIET_ROWS = frozenset({4, 19, 20, 24})


def _conditions_differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    def gist(entries: Any) -> set[tuple[str, str, str]]:
        return {(entry["type"], entry["status"], entry["reason"]) for entry in entries or ()}

    return gist(before.get("conditions")) != gist(after["conditions"])
