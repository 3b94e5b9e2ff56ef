"""Observing: every read a decision needs, done before it, from the cache or live."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import datetime

from tune_operator.api import constants
from tune_operator.experiment.accepted import Accepted
from tune_operator.experiment.run import Run
from tune_operator.experiment.storage import problem
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.informer import Informer
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle.evidence import ExitKnowledge, Unread
from tune_operator.lifecycle.observation import Experiment, Observation, needs_store
from tune_operator.lifecycle.pod import name_of
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import TrialState
from tune_operator.store import errors as store_errors
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef, parse_manifest_key

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looker:
    """Makes observations. ``pods`` is the cache of all trainers' Pods."""

    kube: Kube
    pods: Informer[PodView]

    async def look(
        self, run: Run, accepted: Accepted, now: datetime, *, may_start: bool
    ) -> Observation:
        """One consistent look. Raises KubeError when a live read fails."""
        # What has no Pod yet matters only where one would be made: a quota may hold up hundreds.
        doubtful = [
            trial
            for trial in run.durable.open_attempts
            if trial.pod_uid or may_start or accepted.experiment.deleted
        ]
        await asyncio.gather(*(self._confirm(accepted.experiment, trial) for trial in doubtful))
        observation = Observation(
            now=now,
            experiment=accepted.experiment,
            state=run.durable,
            pods=self.pods.of(run.key[0], run.uid),
            total=accepted.total,
            may_start=may_start,
            progress=dict(run.progress),
            choose_next=accepted.engine.choose_next,
        )
        wanted = needs_store(observation)
        read = await asyncio.gather(*(self._ending(run, *key) for key in wanted))
        for key in wanted:
            run.silent_since.setdefault(key, now)
        return replace(
            observation,
            exits={key: ending for key, (ending, _) in zip(wanted, read, strict=True)},
            committed={key[0]: committed for key, (_, committed) in zip(wanted, read, strict=True)},
            silent_since=dict(run.silent_since),
        )

    async def _confirm(self, experiment: Experiment, trial: TrialState) -> None:
        """Absence in the cache proves nothing: ask, before anything is created or given up.

        So does a Pod of that name with another UID than the bound one: the cache may be older.
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
            return
        try:
            raw = await self.kube.get(PODS, namespace, name)
        except NotFound:
            return
        labels = raw["metadata"].get("labels") or {}
        if labels.get(constants.LABEL_EXPERIMENT_UID) == experiment.uid:
            self.pods.observe(raw)

    async def _ending(
        self, run: Run, trial: str, attempt: int
    ) -> tuple[ExitKnowledge, tuple[CheckpointRef, ...]]:
        """Exit record, then the one LIST of its manifests. No answer is never taken for "none"."""
        if run.store is None:
            return Unread.UNDECIDED, ()
        keys = run.keys.trial(trial)
        try:
            record = await read_exit_record(run.store, keys.exit_record(attempt))
            listed = await run.store.list(keys.manifests(attempt))
        except store_errors.StoreError as error:
            run.storage = problem(error).finding
            return Unread.UNDECIDED, ()
        refs = (parse_manifest_key(key) for key in listed)
        return record, tuple(ref for ref in refs if ref is not None)


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
