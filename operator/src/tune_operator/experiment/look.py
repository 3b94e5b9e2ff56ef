"""Observing: every read a decision needs, done before it, from the cache or live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from tune_operator.api import constants
from tune_operator.experiment.accepted import Accepted
from tune_operator.experiment.run import Run
from tune_operator.experiment.storage import problem
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.informer import Informer
from tune_operator.kube.nodes import Nodes
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle import status
from tune_operator.lifecycle.evidence import ExitKnowledge, Unread
from tune_operator.lifecycle.node_view import NodeKnowledge
from tune_operator.lifecycle.observation import (
    Experiment,
    Observation,
    Remains,
    needs_node,
    needs_pod,
    needs_store,
)
from tune_operator.lifecycle.pod import is_attempt, name_of
from tune_operator.lifecycle.pod_view import PodView, project
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_operator.store import errors as store_errors
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol import fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef, parse_manifest_key
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.messages import BODY_LIMIT
from tune_trainer.protocol.result import Result

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Found = TypeVar("Found")

ENDINGS_AT_ONCE = 4
"""As many as a store has threads: waiting for one of those counts as no answer."""

READS_AT_ONCE = 16
"""Live reads in flight per experiment; after an outage there may be hundreds to do."""


def always_heard() -> datetime | None:
    """No report was ever turned away."""
    return None


@dataclass(frozen=True)
class Looker:
    """Makes observations. ``pods`` is the cache of all trainers' Pods.

    ``ready_since`` is when this process began to lead, ``unheard`` when a report was last turned
    away because nobody could say whose it was.
    """

    kube: Kube
    pods: Informer[PodView]
    nodes: Nodes
    ready_since: datetime
    unheard: Callable[[], datetime | None] = always_heard

    def attempts(self, namespace: str, uid: str, state: RunState | None = None) -> list[PodView]:
        """The Pods of an experiment in the cache, without those that only carry its label."""
        bound = {trial.pod_uid for trial in state.open_attempts} if state else set()
        found = self.pods.of(namespace, uid)
        return [pod for pod in found if is_attempt(pod) or pod.uid in bound]

    async def look(
        self, run: Run, accepted: Accepted, now: datetime, *, may_record: bool, may_start: bool
    ) -> Observation:
        """One consistent look. Raises KubeError when a live read fails."""
        state = run.durable
        # Who has no Pod yet is asked about only before being closed for that: of a create the API
        # server itself says whether the Pod exists, and a quota may hold up hundreds of them.
        experiment = accepted.experiment
        closing = bool(experiment.deleted or state.stopped or experiment.spec.suspend)
        doubtful = [trial for trial in state.open_attempts if trial.pod_uid or closing]
        confirmed = await _each(doubtful, lambda trial: self._confirm(experiment, trial))
        unlabelled = [pod for pod in confirmed if pod is not None]
        observation = Observation(
            now=now,
            experiment=experiment,
            state=state,
            pods=(*self.attempts(run.key[0], run.uid, state), *unlabelled),
            total=accepted.total,
            may_start=may_start,
            may_record=may_record,
            progress=dict(run.progress),
            heard=dict(run.heard),
            ready_since=max(
                at for at in (self.ready_since, run.ready_since, self.unheard()) if at is not None
            ),
            choose_next=accepted.engine.choose_next,
            config=accepted.searcher.config,
            uri=run.uri,
            shown=status.attempts(run.obj.get("status") or {}) if may_start else {},
            remains=Remains.NOTHING if run.unopened else run.remains,
        )
        observation = replace(observation, nodes=await self._nodes(observation))
        observation = await self._refreshed(observation)
        return await self._with_endings(run, observation) if may_record else observation

    async def _nodes(self, observation: Observation) -> dict[str, NodeKnowledge]:
        """What the watch knows of the nodes in use; live where a Pod is overdue."""
        pods = map(observation.pod_of, observation.state.open_attempts)
        used = {pod.node for pod in pods if pod is not None and pod.node}
        known: dict[str, NodeKnowledge] = {
            name: view for name in used if (view := self.nodes.known(name)) is not None
        }
        asked = needs_node(replace(observation, nodes=known))
        found = await _each(asked, self.nodes.look)
        return {**known, **dict(zip(asked, found, strict=True))}

    async def _refreshed(self, observation: Observation) -> Observation:
        """With the Pods that would be given up as they are now: an outage makes every view old."""
        doubtful = needs_pod(observation)
        if not doubtful:
            return observation
        gone = set()

        async def read(pod: PodView) -> None:
            try:
                raw = await self.kube.get(PODS, pod.namespace, pod.name)
            except NotFound:
                gone.add(pod.uid)
                return
            if raw["metadata"]["uid"] != pod.uid:
                gone.add(pod.uid)
            if constants.LABEL_EXPERIMENT_UID in (raw["metadata"].get("labels") or {}):
                self.pods.observe(raw)

        await _each(doubtful, read)
        experiment = observation.experiment
        known = self.attempts(experiment.namespace, experiment.uid, observation.state)
        pods = {pod.uid: pod for pod in (*observation.pods, *known) if pod.uid not in gone}
        return replace(observation, pods=tuple(pods.values()))

    async def _with_endings(self, run: Run, observation: Observation) -> Observation:
        wanted = needs_store(observation)

        async def ending(trial: TrialState) -> Ending:
            # Of a store that is away nobody waits hundreds of times for no answer.
            return await self._ending(run, trial) if run.storage.ok else Ending()

        read = await _each(wanted, ending, at_once=ENDINGS_AT_ONCE)
        keys = [(trial.name, trial.attempt) for trial in wanted]
        endings = dict(zip(keys, read, strict=True))
        for trial, key in zip(wanted, keys, strict=True):
            if observation.evidence(trial).over:
                run.silent_since.setdefault(key, observation.now)
        return replace(
            observation,
            exits={key: ending.exit for key, ending in endings.items()},
            committed={key[0]: ending.committed for key, ending in endings.items()},
            recovered={key: ending.results for key, ending in endings.items()},
            silent_since=dict(run.silent_since),
        )

    async def _confirm(self, experiment: Experiment, trial: TrialState) -> PodView | None:
        """Absence in the cache proves nothing: ask, before anything is created or given up.

        So does a Pod of that name with another UID than the bound one: the cache may be older.
        Returns a bound Pod that lost our label: the cache never sees it, and yet it runs and is
        held by our finalizer.
        """
        namespace = experiment.namespace
        name = name_of(experiment, trial.name, trial.attempt)
        known = self.pods.get(namespace, name)
        bound = trial.pod_uid
        if (
            known is not None
            and known.experiment_uid == experiment.uid
            and bound in ("", known.uid)
        ):
            return None
        try:
            raw = await self.kube.get(PODS, namespace, name)
        except NotFound:
            return None
        labels = raw["metadata"].get("labels") or {}
        if labels.get(constants.LABEL_EXPERIMENT_UID) == experiment.uid:
            self.pods.observe(raw)
            return None
        return project(raw) if raw["metadata"]["uid"] == bound else None

    async def _ending(self, run: Run, trial: TrialState) -> Ending:
        """Exit record, then the one LIST of manifests. No answer is never taken for "none"."""
        if run.store is None:
            return Ending()
        keys = run.keys.trial(trial.name)
        try:
            record = await read_exit_record(run.store, keys.exit_record(trial.attempt))
            # All of the trial: those of earlier attempts that are there may stay in the plan, and
            # of a journal that lost its end they may tell of later ones.
            listed = await run.store.list(keys.manifests())
            refs = tuple(ref for key in listed if (ref := parse_manifest_key(key)) is not None)
            own = [ref for ref in refs if ref.attempt == trial.attempt]
            results = record_results(record, trial.iteration)
            if record is None and own:
                # It died without a word: what its reports did not bring rides in its last commit.
                results = await read_results(run.store, keys.manifest(max(own)))
        except store_errors.StoreError as error:
            run.storage = problem(error).finding
            return Ending()
        return Ending(record, refs, results)


@dataclass(frozen=True)
class Ending:
    """What the store says of an attempt that ended."""

    exit: ExitKnowledge = Unread.UNDECIDED
    committed: tuple[CheckpointRef, ...] = ()
    results: tuple[Result, ...] = ()


def record_results(record: ExitRecord | None, reached: int) -> tuple[Result, ...]:
    """Results that the record carries, in their order.

    The last one is among them for trainers that send nothing else; it is no news when the trial
    had ``reached`` its iteration before, as one that was done when it was restored.
    """
    if record is None:
        return ()
    last = record.last_result
    new = [last] if last is not None and last.iteration > reached else []
    by_seq = {result.seq: result for result in [*new, *record.results]}
    return fitting(by_seq[seq] for seq in sorted(by_seq))


def fitting(results: Iterable[Result]) -> tuple[Result, ...]:
    """Those that a report could have brought: a larger one might fit into no segment."""
    return tuple(result for result in results if len(fields.dump(result.to_json())) <= BODY_LIMIT)


async def _each(
    items: Sequence[Item], read: Callable[[Item], Awaitable[Found]], at_once: int = READS_AT_ONCE
) -> list[Found]:
    """What `read` says of each, a few at a time. Raises what it raises."""
    turn = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Found:
        async with turn:
            return await read(item)

    return await asyncio.gather(*map(one, items))


async def read_results(store: ObjectStore, key: str) -> tuple[Result, ...]:
    """Results that were not durable when this manifest was committed. Raises StoreError."""
    try:
        manifest = Manifest.from_bytes(await store.get(key))
    except (store_errors.NotFound, ProtocolError) as error:
        logger.warning("manifest %s: %s", key, error)
        return ()
    return fitting(sorted(manifest.results, key=lambda result: result.seq))


async def read_exit_record(store: ObjectStore, key: str) -> ExitRecord | None:
    """The record at this key, None if there is none that can be read. Raises StoreError."""
    try:
        return ExitRecord.from_bytes(await store.get(key))
    except store_errors.NotFound:
        return None
    except ProtocolError as error:
        # Torn or foreign: whatever wrote it, it is no proof of completion.
        logger.warning("exit record %s: %s", key, error)
        return None
