"""One look at one experiment: observe, decide, journal, write the status once, act.

Level-triggered: an event only says that it is time to look. A crash anywhere is repaired by the
next look, because intents are durable before anything happens, and everything else is observed
again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tune_operator.experiment.abandoned import abandon, give_up
from tune_operator.experiment.accepted import Accepted, has_finalizer
from tune_operator.experiment.claim import Displaced
from tune_operator.experiment.deletion_causes import DeletionCauses
from tune_operator.experiment.dry_run import ask_again
from tune_operator.experiment.gates import (
    DISPLACED_SECONDS,
    REFUSED_SECONDS,
    STORE_RETRY_SECONDS,
    Gates,
)
from tune_operator.experiment.look import Looker
from tune_operator.experiment.outcomes import note
from tune_operator.experiment.records import changes, specification
from tune_operator.experiment.retention import Retention
from tune_operator.experiment.run import Asked, Key, Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.experiment.storage import problem
from tune_operator.experiment.strays import Strays
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, Invalid, NotFound
from tune_operator.kube.executor import Executor
from tune_operator.lifecycle import pod, status
from tune_operator.lifecycle.actions import (
    Action,
    AddExperimentFinalizer,
    CreatePod,
    EmitEvent,
)
from tune_operator.lifecycle.classify import Then, Verdict
from tune_operator.lifecycle.conditions import (
    Condition,
    Findings,
    advice,
    alarms,
    conditions,
    merge,
)
from tune_operator.lifecycle.decide import Decision, decide
from tune_operator.lifecycle.events import waiting_events
from tune_operator.lifecycle.judging import SETTLING
from tune_operator.lifecycle.observation import Observation, Remains
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_operator.obs.metrics import Metrics
from tune_operator.runtime.clock import Clock
from tune_operator.runtime.workqueue import WorkQueue
from tune_operator.store.errors import StoreError

logger = logging.getLogger(__name__)


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
    metrics: Metrics
    objects: dict[Key, Mapping[str, Any]]
    seen: dict[Key, set[str]]
    runs: dict[str, Run]
    retention: Retention

    def __post_init__(self) -> None:
        self._causes = DeletionCauses(self.kube, self.writer, self.queue, self.clock)
        self._strays = Strays(
            self.kube, self.looker, self.executor, self.seen, self.runs, self.retention
        )

    async def reconcile(self, key: Key) -> None:
        """Look at one experiment. Errors of the API server are raised: the caller retries."""
        obj = self.objects.get(key)
        failed = await self._strays.release(key, obj)
        if obj is not None:
            await self._look(key, obj)
        if failed is not None:
            raise failed  # what strays of an earlier experiment need must not hold up this one

    async def close(self) -> None:
        """Give the stores' connections back."""
        for uid, run in list(self.runs.items()):
            await self._strays.forget(run.key, uid)

    async def _look(self, key: Key, obj: Mapping[str, Any]) -> None:
        run = await self._run(key, obj)
        run.at_rest.clear()
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
            self.gates.leave(run)
            self.queue.add(key, after=DISPLACED_SECONDS)
        finally:
            run.at_rest.set()

    async def _step(self, run: Run) -> None:
        deleting = bool(run.obj["metadata"].get("deletionTimestamp"))
        if deleting and not has_finalizer(run.obj):
            # Somebody else's finalizer holds the object. Nothing of it is ours any more: whoever
            # opens its run after us must not be displaced by a look at what is left.
            await self._act(run, abandon(run, self._pods(run)))
            await self._rest(run)
            return
        accepted = self.gates.accept(run) or await self.gates.recover(run)
        if accepted is None:
            await self._step_blind(run, deleting=deleting)
            return
        if not deleting and run.namespace_ends is not None:
            deleting = True
            experiment = replace(accepted.experiment, deleted=run.namespace_ends)
            accepted = replace(accepted, experiment=experiment)
        ended = run.durable.ended is not None
        fit = False
        if not ended and not deleting:
            fit = await self.gates.try_pod(run, accepted)
            if run.acceptance.ok is None:
                ask_again(run, self.queue, self.clock)
            if not fit and not run.durable.trials:
                await self._refuse(run)
                return
            if not accepted.experiment.has_finalizer:
                await self._act(run, [AddExperimentFinalizer(*run.key, run.uid)])
                return
        may_record = await self._may_record(run, accepted, ended=ended, deleting=deleting)
        # A Pod refused later, after a change, must not stop what runs from being settled.
        may_start = fit and may_record and self.clock.monotonic() >= run.create_after
        observation = await self.looker.look(
            run, accepted, self.clock.now(), may_record=may_record, may_start=may_start
        )
        if not (deleting or ended):
            if await self._causes.overtaken(run, observation.pods):
                self.queue.add(run.key)
                return
            observation = self._causes.in_doubt(run, observation)
        if may_record or deleting or ended:
            await self._decide(run, observation)
        elif self.clock.monotonic() < run.open_after:
            await self._after_look(run, None)  # it is another's to show: we would contradict it
        else:
            await self._wait(run, observation)

    async def _step_blind(self, run: Run, *, deleting: bool) -> None:
        """Nobody knows a specification that was ever accepted: nothing can be judged."""
        if self.clock.monotonic() < run.open_after:
            return  # the run is somebody else's for now, who may know one
        if deleting:
            await self._act(run, give_up(run, self._pods(run)))
        else:
            await self._refuse(run)

    async def _may_record(
        self, run: Run, accepted: Accepted, *, ended: bool, deleting: bool
    ) -> bool:
        if ended:
            return run.journal is not None and not run.journal.pending
        if run.remains is not Remains.ALL:
            return False  # it is never opened again
        if deleting and status.term(run.obj.get("status") or {}) == 0:
            return False  # nobody ever opened it: there is nothing to settle
        return await self.gates.hold(run, accepted.experiment.spec.storage)

    async def _decide(self, run: Run, observation: Observation) -> None:
        """Decide, journal, show, act: in this order, each only after the one before it landed."""
        decision = decide(observation)
        if all(trial.pod_uid for trial in decision.state.open_attempts):
            run.taken, run.quota, run.tried = {}, "", True  # no Pod is wanted that could be refused
        run.untold += self._tell(run, observation, decision)
        self._ask_for_checkpoints(run, decision)
        after = self._render(run, observation, decision)
        wait = run.progress_wait(self.clock.monotonic())
        events: list[Action] = []
        if self._can_wait(run, decision, after) and wait > 0:
            # Nothing the caller does next depends on progress that was not written.
            self.queue.add(run.key, after=wait)
        else:
            run.untold += decision.events
            if observation.may_record and not await self._record(run, observation, decision):
                return
            events = await self._show(run, after)
            events += run.untold
            run.untold = []
        await self._act(
            run, [*self._creates(run, observation, decision), *decision.actions, *events]
        )
        if decision.purge:
            self.retention.purge(run)
        await self._after_look(run, decision.look_again)
        if decision.state.ended is not None and not decision.actions:
            await self._rest(run)

    async def _record(self, run: Run, observation: Observation, decision: Decision) -> bool:
        """Journal the decision. False when the store did not take it: then nothing happened."""
        before, journal, store = observation.state, run.journal, run.store
        records = changes(before, decision.state, decision.results)
        if run.accepted is not None and decision.state.generation != before.generation:
            records = [specification(decision.state.generation, run.accepted.raw), *records]
        if not records or journal is None or store is None:
            return not records
        try:
            with self.metrics.journal_commit():
                await journal.commit(store, records)
        except StoreError as error:
            # What was begun is written first of all at the next look, which decides anew after it.
            await self.gates.lose_store(run, problem(error).finding)
            self.queue.add(run.key, after=STORE_RETRY_SECONDS)
            return False
        run.advance()
        self.retention.changed(run)
        if not decision.urgent:  # the status tells of a life at once, also at the second try
            run.written = self.clock.monotonic()
        self.metrics.results_durable.inc(sum(map(len, decision.results.values())))
        for _, verdict in decision.verdicts:
            if verdict.then in SETTLING:
                self.metrics.attempts_ended.labels(verdict.cls).inc()
        return True

    def _render(self, run: Run, observation: Observation, decision: Decision) -> Mapping[str, Any]:
        before = run.obj.get("status") or {}
        experiment = observation.experiment
        if run.journal is None and observation.state.ended is not None:
            return {**before, "observedGeneration": experiment.generation}
        found = _found(run, observation, decision.state, decision.verdicts)
        if run.journal is None:
            return status.outline(observation, found, before)
        return status.render(observation, decision.state, run.facts, found, before)

    async def _show(self, run: Run, after: Mapping[str, Any]) -> list[Action]:
        """The one status write, unless nothing changed. Returns what its conditions alarm of."""
        before = run.obj.get("status") or {}
        if after != before:
            try:
                await self.writer.write(run, after)
            except Invalid as error:
                # Whatever is wrong with it: nobody has to be stuck because of what he is shown.
                if not run.obj["metadata"].get("deletionTimestamp"):
                    raise
                logger.warning("the status of a deleted experiment was not taken: %s", error)
        shown = before.get("conditions") or [], after.get("conditions") or []
        spec = run.accepted and run.accepted.experiment.spec
        return [*alarms(*shown), *(advice(*shown, spec) if spec else ())]

    async def _rest(self, run: Run) -> None:
        """A run that ended is shown by its status: its store and its trials are let go."""
        store, run.store, run.journal = run.store, None, None
        if store is not None:
            await store.close()

    async def _wait(self, run: Run, observation: Observation) -> None:
        """The store does not answer: nothing is decided, and what runs runs on."""
        found = _found(run, observation, observation.state, None)
        events = await self._show(
            run, status.outline(observation, found, run.obj.get("status") or {})
        )
        await self._act(run, events)
        await self._after_look(run, None)

    def _can_wait(self, run: Run, decision: Decision, after: Mapping[str, Any]) -> bool:
        """Mere progress: it is journaled and shown about once a second.

        An intent of our predecessor may be journaled and not shown yet: that is no progress.
        """
        before = run.obj.get("status") or {}
        shown = before.get("live", {}) == after.get("live", {})
        return not decision.urgent and shown and not _conditions_differ(before, after)

    def _ask_for_checkpoints(self, run: Run, decision: Decision) -> None:
        """Row 21: trainers whose node is about to go are asked to save, once for each sign."""
        for trial, verdict in decision.verdicts:
            key = (trial.name, trial.attempt)
            if verdict.then is not Then.CHECKPOINT:
                run.asked_to_save.pop(key, None)
            elif key not in run.asked_to_save:
                news = run.progress.get(trial.name)
                asked = f"{trial.attempt}-{self.clock.now().timestamp():.3f}"
                run.asked_to_save[key] = Asked(
                    asked, max(1, trial.iteration), news.checkpoint if news else None
                )

    def _pods(self, run: Run) -> list[PodView]:
        return self.looker.attempts(run.key[0], run.uid)

    async def _act(self, run: Run, actions: Sequence[Action]) -> None:
        outcomes = await self.executor.run(run.obj, actions)
        wait = note(run, outcomes, self.clock.monotonic())
        if wait is not None:
            self.queue.add(run.key, after=wait)

    def _creates(self, run: Run, observation: Observation, decision: Decision) -> list[Action]:
        now = self.clock.monotonic()
        return [
            self._create(observation, decision.state.trials[int(name)], attempt)
            for name, attempt in decision.starts
            if (taken := run.taken.get((name, attempt))) is None or taken.until <= now
        ]

    def _create(self, observation: Observation, trial: TrialState, attempt: int) -> CreatePod:
        avoid = trial.avoided(observation.now)
        body = pod.build(
            observation.experiment, trial.name, attempt, trial.config, self.session, avoid
        )
        return CreatePod(trial.name, attempt, body)

    async def _after_look(self, run: Run, look_again: datetime | None) -> None:
        if run.storage.ok is False and run.store is not None:
            await self.gates.lose_store(run, run.storage)
        if look_again is not None:
            wait = (look_again - self.clock.now()).total_seconds()
            # Rows compare with "greater than": look just after the moment, not at it.
            self.queue.add(run.key, after=max(0.0, wait) + 0.1)
        now = self.clock.monotonic()
        names = (taken.until for taken in run.taken.values())
        for moment in (run.create_after, run.open_after, *names):
            if moment > now:
                self.queue.add(run.key, after=moment - now)
        if run.storage.ok is False and run.durable.ended is None:
            self.queue.add(run.key, after=STORE_RETRY_SECONDS)
        if run.acceptance.ok is False and run.durable.ended is None:
            self.queue.add(run.key, after=REFUSED_SECONDS)

    async def _refuse(self, run: Run) -> None:
        """Nothing can start: say why, if it is known. Attempts that still run are left alone.

        After the end no change has an effect, and what the experiment came to stays shown.
        """
        if run.durable.ended is not None or run.acceptance.ok is None:
            return
        if run.accepted is not None and not run.accepted.experiment.outdated:
            # It was the Pod that was refused: that may change by itself.
            self.queue.add(run.key, after=REFUSED_SECONDS)
        if run.storage.ok is False:  # the journal may know what to go on by
            self.queue.add(run.key, after=STORE_RETRY_SECONDS)
        generation = run.obj["metadata"].get("generation", 0)
        before = run.obj.get("status") or {}
        found = conditions(run.durable, 0, _findings(run), None, deleting=False)
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

    async def _run(self, key: Key, obj: Mapping[str, Any]) -> Run:
        uid = obj["metadata"]["uid"]
        run = self.runs.get(uid)
        if run is None:
            run = self.runs[uid] = Run(key, uid, obj)
            self.seen.setdefault(key, set()).add(uid)
        run.refresh(obj)
        return run

    def _tell(self, run: Run, observation: Observation, decision: Decision) -> list[EmitEvent]:
        """Every verdict with its row and its evidence, once for as long as it stays the same: in
        the log, and as an Event where only people can help.
        """
        if decision.gone:
            logger.info("nothing of the deleted experiment is left")
        events: list[EmitEvent] = []
        for trial, verdict in decision.verdicts:
            key, row = (trial.name, trial.attempt), (verdict.row, verdict.reason)
            if run.told.get(key) == row:
                continue
            run.told[key] = row
            events += waiting_events(trial, verdict)
            logger.info(
                "trial %s attempt %d: row %d %s %s %s [%s]",
                trial.name,
                trial.attempt,
                verdict.row,
                verdict.cls,
                verdict.reason,
                verdict.message,
                observation.evidence(trial).describe(),
            )
        return events


def _findings(run: Run) -> Findings:
    return Findings(run.acceptance, run.storage, run.name_conflict, run.quota, tried=run.tried)


def _found(
    run: Run,
    observation: Observation,
    state: RunState,
    verdicts: Sequence[tuple[TrialState, Verdict]] | None,
) -> list[Condition]:
    """The conditions of an accepted experiment in this state."""
    experiment = observation.experiment
    return conditions(
        state,
        observation.total,
        replace(_findings(run), held=observation.held),
        verdicts,
        deleting=experiment.deleted is not None,
        suspend=experiment.spec.suspend,
    )


def _conditions_differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    def gist(entries: Any) -> set[tuple[str, str, str]]:
        return {(entry["type"], entry["status"], entry["reason"]) for entry in entries or ()}

    return gist(before.get("conditions")) != gist(after["conditions"])
