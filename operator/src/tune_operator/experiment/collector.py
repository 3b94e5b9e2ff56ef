"""Collecting the garbage of one run: the only thing that ever deletes a checkpoint (DESIGN 6).

For each trial: LIST its manifests, then take the state, then LIST the claims. In this order the
state knows every attempt that was settled or fenced before the first LIST: by us, because no look
is under way any more, and by others, because nobody has claimed the run. So no zombie's manifest is
taken for one of the trial's own. Whatever happens after that, what was garbage then stays garbage.

A manifest goes first. Its data follows after a grace, counted by the monotonic clock of this
process from when it saw the data without a manifest: a restart begins it anew, and no jump of a
clock shortens it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from tune_operator.experiment.journal import Journal
from tune_operator.experiment.run import Run
from tune_operator.experiment.survey import Known, Survey, read_data, read_manifests
from tune_operator.lifecycle.retention import Keep, Lineage
from tune_operator.lifecycle.trial_state import TrialState
from tune_operator.obs.metrics import Metrics
from tune_operator.runtime.clock import Clock
from tune_operator.store.errors import AccessDenied, NotFound
from tune_operator.store.object_store import PAGE, ObjectStore
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import CheckpointRef, DataRef, TrialKeys, parse_data_key
from tune_trainer.protocol.manifest import Manifest

logger = logging.getLogger(__name__)
T = TypeVar("T")

GRACE_SECONDS = 3600.0
"""Data without a manifest stays this long: signed URLs and temporary keys live for an hour, so that
whoever read the manifest before it went has the data, or can have it no more. An attempt that
restores needs no grace: what its plan names is kept until its first commit."""

REST_SECONDS = 30.0
"""How long a look may hold up a pass; a longer one waits for a store or an API server."""

TRIALS_PER_PASS = 50
"""Trials looked at in one pass: each costs a handful of requests, one after the other."""


@dataclass
class Trial:
    """What is remembered of a trial between two passes. ``seen`` is what it was when all of it was
    in order; ``aborted`` the last attempt whose uploads were ended."""

    known: dict[CheckpointRef, Known | None] = field(default_factory=dict)
    dropped: set[DataRef] = field(default_factory=set)
    orphaned: dict[DataRef, float] = field(default_factory=dict)
    seen: object = None
    aborted: int = 0

    @property
    def due(self) -> float:
        """When (monotonic) the first grace is over; infinity if none runs."""
        since = min(self.orphaned.values(), default=float("inf"))
        return since + GRACE_SECONDS


class Collector:
    """One run that is or was held here. Its journal is kept beyond the run's end, which it needs
    for as long as a grace runs."""

    def __init__(self, run: Run, journal: Journal, clock: Clock, metrics: Metrics) -> None:
        self.journal = journal
        self._run = run
        self._clock = clock
        self._metrics = metrics
        self._trials: dict[str, Trial] = {}
        self._last: dict[str, int] = {}
        self._turns = count(1)

    async def collect(self, store: ObjectStore, keep: Keep) -> float | None:
        """One pass. Returns the seconds after which there is more to do, None for never.

        Raises StoreError, and Displaced when the run is somebody else's.
        """
        todo = [trial for trial in self.journal.state.trials if self._wanted(trial, keep)]
        # Who waited longest is first: of trials that save all the time none is left out.
        todo.sort(key=lambda trial: self._last.get(trial.name, 0))
        for trial in todo[:TRIALS_PER_PASS]:
            self._last[trial.name] = next(self._turns)
            await self._collect(store, trial.name, keep)
        if todo[TRIALS_PER_PASS:]:
            return 0.0
        due = min((memory.due for memory in self._trials.values()), default=float("inf"))
        return None if due == float("inf") else max(0.0, due - self._clock.monotonic())

    def _wanted(self, trial: TrialState, keep: Keep) -> bool:
        memory = self._trials.get(trial.name)
        if memory is None:
            return trial.attempt > 0
        return memory.seen != _aspect(trial, keep) or memory.due <= self._clock.monotonic()

    async def _collect(self, store: ObjectStore, name: str, keep: Keep) -> None:
        memory = self._trials.setdefault(name, Trial())
        keys = self.journal.keys.trial(name)
        memory.known = await read_manifests(store, keys, keep.metric, memory.known)
        await self._rested()
        trial = self._trial(name)
        lineage = Lineage.of(trial)
        if lineage is None:
            memory.seen = _aspect(trial, keep)
            return
        survey = Survey(memory.known)
        gone = survey.surplus(lineage, keep)
        fenced = False
        if gone:
            await self._fence(store)
            fenced = True
            await self._drop(store, keys, survey, gone, memory)
        if memory.dropped or memory.orphaned or lineage.settled(1):
            survey = Survey(memory.known, await read_data(store, keys))
        self._note(survey, lineage, memory)
        if due := self._due(memory):
            if not fenced:
                await self._fence(store)
            await self._delete_data(store, keys, survey, due, memory)
        await self._abort(store, keys, lineage, memory)
        memory.seen = _aspect(trial, keep)
        if trial.finished:
            memory.known = {}

    async def _rested(self) -> None:
        try:
            async with asyncio.timeout(REST_SECONDS):
                await self._run.rested()
        except TimeoutError:
            raise Busy from None

    def _trial(self, name: str) -> TrialState:
        """The trial as journaled. A commit that is under way may have settled it: nothing may be
        based on what was before."""
        if self.journal.pending:
            raise Busy
        return self.journal.state.trials[int(name)]

    async def _fence(self, store: ObjectStore) -> None:
        """Nobody may have claimed the run before the LIST that was decided on."""
        if self.journal.pending:
            raise Busy
        await self.journal.check(store)

    async def _drop(
        self, store: ObjectStore, keys: TrialKeys, survey: Survey,
        gone: Sequence[CheckpointRef], memory: Trial,
    ) -> None:  # fmt: skip
        """Manifests go: from now on these checkpoints do not exist."""
        # Noted first: an answer may get lost. What is still named by a manifest is no orphan.
        memory.dropped |= {folder for ref in gone if (folder := survey.folder(ref)) is not None}
        for some in _portions(gone):
            await store.delete([keys.manifest(ref) for ref in some])
            for ref in some:
                memory.known.pop(ref, None)
            self._metrics.checkpoints_deleted.inc(len(some))
        logger.info("deleted checkpoints of %s: %s", keys.root, " ".join(map(str, gone)))

    def _note(self, survey: Survey, lineage: Lineage, memory: Trial) -> None:
        """Since when which data has no manifest; what has one again begins anew."""
        found = survey.orphans(lineage, (), memory.dropped)
        now = self._clock.monotonic()
        memory.orphaned = {folder: memory.orphaned.get(folder, now) for folder in found}
        memory.dropped &= survey.data.keys()

    def _due(self, memory: Trial) -> list[DataRef]:
        now = self._clock.monotonic()
        return [folder for folder, since in memory.orphaned.items() if since + GRACE_SECONDS <= now]

    async def _delete_data(
        self, store: ObjectStore, keys: TrialKeys, survey: Survey, due: Iterable[DataRef],
        memory: Trial,
    ) -> None:  # fmt: skip
        for folder in due:
            if await _named(store, keys, folder):
                # The LIST did not show it, for an hour. Whatever that store does: not this one.
                memory.orphaned[folder] = self._clock.monotonic()
                continue
            stored = survey.data[folder]
            for some in _portions(stored):
                await store.delete([each.key for each in some])
                self._metrics.checkpoint_bytes_deleted.inc(sum(each.size for each in some))
            del memory.orphaned[folder]
            memory.dropped.discard(folder)

    async def _abort(
        self, store: ObjectStore, keys: TrialKeys, lineage: Lineage, memory: Trial
    ) -> None:
        """Parts of attempts that are over; once for each, so that a zombie's last ones may stay."""
        over = lineage.attempt - lineage.open
        if over <= memory.aborted:
            return
        try:
            uploads = await store.uploads(keys.all_data())
        except AccessDenied as error:
            logger.debug("uploads under way are not looked for: %s", error)
            uploads = ()
        for upload in uploads:
            folder = parse_data_key(keys, upload.key)
            if folder is not None and lineage.settled(folder.ref.attempt):
                await self._fence(store)
                await store.abort(upload)
        memory.aborted = over


class Busy(Exception):
    """The journal takes a commit right now, or waits for the store to take it: try again later."""


async def _named(store: ObjectStore, keys: TrialKeys, folder: DataRef) -> bool:
    """Whether the manifest that a LIST did not show is there after all. Raises StoreError."""
    try:
        return Manifest.from_bytes(await store.get(keys.manifest(folder.ref))).nonce == folder.nonce
    except NotFound:
        return False
    except ProtocolError:
        return True


def _aspect(trial: TrialState, keep: Keep) -> object:
    """All that decides about a trial's checkpoints, beside the store."""
    shown = trial.checkpoint.ref if trial.checkpoint else None
    return trial.attempt, trial.open, trial.finished, trial.plan, shown, keep


def _portions(entries: Sequence[T]) -> Iterable[Sequence[T]]:
    return (entries[start : start + PAGE] for start in range(0, len(entries), PAGE))
