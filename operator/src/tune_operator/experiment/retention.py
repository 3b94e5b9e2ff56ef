"""Retention as a service: which run is collected or purged when, beside the looks at experiments.

It has connections of its own, so that it holds up no look, and it only ever reads the journaled
state. What it could not do it does later; nothing waits for it but the end of an object whose
storage is to go, and that is bounded.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tune_operator.experiment.accepted import Refused
from tune_operator.experiment.claim import Displaced
from tune_operator.experiment.collector import Busy, Collector
from tune_operator.experiment.purge import purge
from tune_operator.experiment.run import Key, Run
from tune_operator.experiment.storage import StorageProblem
from tune_operator.kube.errors import KubeError
from tune_operator.lifecycle import status
from tune_operator.lifecycle.observation import Remains
from tune_operator.lifecycle.retention import Keep
from tune_operator.obs.logging import context
from tune_operator.obs.metrics import Metrics
from tune_operator.runtime.clock import Clock
from tune_operator.runtime.workqueue import QueueClosed, WorkQueue
from tune_operator.store.errors import StoreError
from tune_operator.store.object_store import ObjectStore

logger = logging.getLogger(__name__)

PACE_SECONDS = 10.0
"""Between two passes over one run, and from a commit to the first: most have company by then."""

RETRY_SECONDS = 60.0
"""After a store that does not serve us. Garbage can wait."""

ENDED_TRIES = 120
"""After so many in a row the garbage of a run that ended stays: its state would be held for ever
where the keys may not delete."""

PURGE_RETRY_SECONDS = 5.0
"""The same while a deleted object waits."""

WORKERS = 2
"""Runs that are collected at a time."""

UNUSABLE = (StoreError, StorageProblem, Refused, KubeError)
"""The store does not serve us, or cannot be reached with what the object says."""

Connect = Callable[[Run], Awaitable[ObjectStore]]


@dataclass
class _Entry:
    """A run of which garbage may be left. ``keep`` is what was in force when last asked, ``told``
    the last problem that was logged, ``failures`` how often in a row there was one."""

    run: Run
    collector: Collector
    keep: Keep | None = None
    store: ObjectStore | None = None
    told: str = ""
    failures: int = 0


@dataclass
class Retention:
    """Takes runs by their UID. ``runs`` are those of this process, ``wake`` looks at one again."""

    runs: Mapping[str, Run]
    connect: Connect
    wake: Callable[[Key, float], None]
    clock: Clock
    metrics: Metrics
    queue: WorkQueue[str] = field(init=False)
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _purges: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(self.clock)

    def changed(self, run: Run) -> None:
        """The run's journal moved on: there may be something to collect."""
        if run.journal is None:
            return
        entry = self._entries.get(run.uid)
        if entry is None:
            collector = Collector(run, run.journal, self.clock, self.metrics)
            self._entries[run.uid] = _Entry(run, collector)
        else:
            entry.collector.journal = run.journal
        self.queue.add(run.uid, after=PACE_SECONDS)

    def sweep(self) -> None:
        """See to everything again, also to what no commit told of, as a changed ``keep``."""
        for run in list(self.runs.values()):
            self.changed(run)

    def purge(self, run: Run) -> None:
        """Delete all of the run; `Run.remains` tells how far it is."""
        if run.uid not in self._purges:
            self._purges.add(run.uid)
            self.queue.add(run.uid)

    async def forget(self, uid: str) -> None:
        """The object is gone, or was never ours: its storage stays as it is."""
        self._purges.discard(uid)
        await self._leave(uid)

    async def work(self) -> None:
        """One worker, until the queue is closed."""
        while True:
            try:
                uid = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self.handle(uid)
            finally:
                self.queue.done(uid)

    async def handle(self, uid: str) -> None:
        """What is due for one run. Never raises: a defect here must not end the process."""
        run = self.runs.get(uid)
        if run is None:
            await self.forget(uid)
            return
        with context(experiment="/".join(run.key)):
            try:
                outcome = await (self._purge(run) if uid in self._purges else self._collect(run))
            except Exception:
                logger.exception("retention failed")
                outcome = "failed"
                self.queue.add(uid, after=RETRY_SECONDS)
        self.metrics.retention_passes.labels(outcome).inc()

    def close(self) -> None:
        """Take no more."""
        self.queue.close()

    async def stop(self) -> None:
        """Give the stores' connections back."""
        for uid in list(self._entries):
            await self._leave(uid)

    async def _collect(self, run: Run) -> str:
        entry = self._entries.get(run.uid)
        ended = run.durable.ended is not None
        # A deleted object's trials save and go: what they may need is no question for now.
        if entry is None or run.accepted is None or run.obj["metadata"].get("deletionTimestamp"):
            return "skipped"
        if run.journal is not entry.collector.journal and not ended:
            return "skipped"  # not ours at the moment; when it is again, we are told
        experiment = run.accepted.experiment
        if entry.collector.journal.state.generation == experiment.in_force:
            entry.keep = Keep.of(experiment.spec)
        if entry.keep is None:
            return "skipped"  # a change counts when it is journaled, which we are told of
        try:
            entry.store = entry.store or await self.connect(run)
            wait = await entry.collector.collect(entry.store, entry.keep)
        except Busy:
            wait = PACE_SECONDS
        except Displaced:
            await self._leave(run.uid)
            return "displaced"
        except UNUSABLE as error:
            self._tell(entry, str(error))
            await self._disconnect(entry)
            entry.failures += 1
            if ended and entry.failures >= ENDED_TRIES:
                await self._leave(run.uid)
                return "given up"
            self.queue.add(run.uid, after=RETRY_SECONDS)
            return "failed"
        entry.told, entry.failures = "", 0
        if wait is not None:
            self.queue.add(run.uid, after=max(wait, PACE_SECONDS))
        if wait is None or wait > PACE_SECONDS:
            await self._disconnect(entry)
        if wait is None and ended:
            await self._leave(run.uid)
        return "done"

    def _tell(self, entry: _Entry, problem: str) -> None:
        if entry.told != problem:
            logger.warning("checkpoints are not deleted for now: %s", problem)
        entry.told = problem

    async def _purge(self, run: Run) -> str:
        """Nobody commits from here on; what the run was is in its status."""
        term = run.journal.term if run.journal else status.term(run.obj.get("status") or {})
        run.remains, run.journal = Remains.GOING, None
        await self._leave(run.uid)
        try:
            store = await self.connect(run)
            try:
                await purge(store, run.keys, term)
            finally:
                await store.close()
        except Displaced as displaced:
            logger.warning("%s", displaced)
            return "displaced"
        except UNUSABLE as error:
            logger.warning("the storage of a deleted experiment is not deleted yet: %s", error)
            self.queue.add(run.uid, after=PURGE_RETRY_SECONDS)
            return "failed"
        logger.info("deleted all of %s", run.uri)
        self._purges.discard(run.uid)
        run.remains = Remains.NOTHING
        self.wake(run.key, 0.0)
        return "purged"

    async def _leave(self, uid: str) -> None:
        entry = self._entries.pop(uid, None)
        if entry is not None:
            await self._disconnect(entry)

    async def _disconnect(self, entry: _Entry) -> None:
        store, entry.store = entry.store, None
        if store is not None:
            await store.close()
