"""Checkpoints in a store as trainers write them, and operators that hold the run they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.unit.lifecycle.builders import UID
from tune_operator.experiment import records
from tune_operator.experiment.claim import Owner
from tune_operator.experiment.collector import Collector
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.opening import Opening
from tune_operator.experiment.run import Run
from tune_operator.lifecycle.retention import Keep
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_operator.obs.metrics import Metrics
from tune_operator.runtime.clock import Clock
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, TrialKeys, trial_name
from tune_trainer.protocol.manifest import FileEntry, Manifest

KEYS = RunKeys.of("runs", "team-a", "digits", UID)
TRIAL = KEYS.trial("00000")
OTHER = KEYS.trial("00001")
KEEP = Keep(latest=2, best=1, metric="loss", mode="min")


def refs(text: str) -> tuple[CheckpointRef, ...]:
    return tuple(map(CheckpointRef.parse, text.split()))


def data_of(ref: CheckpointRef) -> bytes:
    return f"the weights of {ref}".encode() * 100


def manifest(
    ref: CheckpointRef, metrics: Mapping[str, Any], nonce: str = "n1", trial: str = "00000"
) -> Manifest:
    data = data_of(ref)
    part = hashlib.sha256(data).hexdigest()
    return Manifest(
        experiment="digits", trial=trial, ref=ref, nonce=nonce, time="2026-03-01T12:00:00Z",
        kind="directory", relative="", metrics=metrics, progress={},
        files=(FileEntry("model", len(data), len(data), (part,)),),
    )  # fmt: skip


def upload(
    bucket: MemoryStore, ref: CheckpointRef, nonce: str = "n1", of: TrialKeys = TRIAL
) -> None:
    """The data of a checkpoint, without its manifest."""
    bucket.objects[f"{of.data(ref, nonce)}model"] = data_of(ref)


def commit(bucket: MemoryStore, ref: CheckpointRef, of: TrialKeys = TRIAL, **metrics: Any) -> None:
    """A whole checkpoint."""
    upload(bucket, ref, of=of)
    bucket.objects[of.manifest(ref)] = manifest(ref, metrics, trial=of.trial).to_bytes()


def clone(bucket: MemoryStore, source: str, ref: CheckpointRef, of: TrialKeys = OTHER) -> None:
    """The checkpoint whose manifest has this key, as another one of this trial."""
    made = Manifest.from_bytes(bucket.objects[source]).clone(of.trial, ref, "c1")
    bucket.objects[of.manifest(ref)] = made.to_bytes()


def manifests(bucket: MemoryStore, of: TrialKeys = TRIAL) -> set[str]:
    prefix = of.manifests()
    return {name(key.removeprefix(prefix)) for key in bucket.objects if key.startswith(prefix)}


def folders(bucket: MemoryStore, of: TrialKeys = TRIAL) -> set[str]:
    prefix = of.all_data()
    return {name(key.removeprefix(prefix)) for key in bucket.objects if key.startswith(prefix)}


def name(key: str) -> str:
    attempt, iteration, *_ = key.partition(".")[0].split("-")
    return f"{int(attempt)}-{int(iteration)}"


class Holder:
    """An operator that holds the run, or believes to."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.run = Run(("team-a", "digits"), UID, {})
        self.run.journal = self.journal = journal
        self.metrics = Metrics()
        self.clock = clock
        self.collector = Collector(self.run, journal, clock, self.metrics)

    @classmethod
    async def open(cls, store: ObjectStore, clock: Clock, nonce: str = "a") -> Holder:
        async def take(_: int) -> None:
            """No status here: the terms in the store do."""

        opening = Opening(KEYS, Owner("cluster", "team-a", "digits", UID), lambda: nonce)
        return cls(await opening.proceed(store, 0, take), clock)

    def restarted(self) -> Collector:
        """With no memory of what it did."""
        return Collector(self.run, self.journal, self.clock, self.metrics)

    async def record(self, store: ObjectStore, index: int = 0, **fields: Any) -> TrialState:
        """A trial as it is from now on, one that is known or the next."""
        trials = list(self.journal.state.trials)
        if index == len(trials):
            trials.append(TrialState(trial_name(index)))
        trial = trials[index] = replace(trials[index], **fields)
        after = RunState(trials=tuple(trials))
        await self.journal.commit(store, records.changes(self.journal.state, after))
        return trial

    async def collect(self, store: ObjectStore, keep: Keep = KEEP) -> float | None:
        return await self.collector.collect(store, keep)
