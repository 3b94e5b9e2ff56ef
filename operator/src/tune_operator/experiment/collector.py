"""Collecting the garbage of one run: the only thing that ever deletes a checkpoint (DESIGN 6).

For each trial: LIST its manifests, then take the state, then LIST the claims. In this order the
state knows every attempt that was settled or fenced before the first LIST: by us, because no look
is under way any more, and by others, because nobody has claimed the run. So no zombie's manifest is
taken for one of the trial's own. Whatever happens after that, what was garbage then stays garbage.

A manifest goes first. Its data follows after a grace, counted by the monotonic clock of this
process from when it saw the data without a manifest: a restart begins it anew, and no jump of a
clock shortens it.

A clone is a manifest that names the data of another trial. So data goes only if the manifests of
every trial have been listed since it was first seen without one, or nothing happened to that trial
since they were: a clone of it is older than that, as its source was still there behind it.
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
from tune_operator.lifecycle.retention import Keep, Lineage, union
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
    in order, ``listed`` when (monotonic) its manifests were; ``aborted`` the last attempt whose
    uploads were ended."""

    known: dict[CheckpointRef, Known | None] = field(default_factory=dict)
    listed: float = float("-inf")
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
    for as long as a grace runs.

    ``_cloned`` is what clones of each trial name, of those that have some (None: nobody knows);
    ``_stale`` the trials to which something happened since their manifests were listed.
    """

    def __init__(self, run: Run, journal: Journal, clock: Clock, metrics: Metrics) -> None:
        self.journal = journal
        self._run = run
        self._clock = clock
        self._metrics = metrics
        self._trials: dict[str, Trial] = {}
        self._cloned: dict[str, frozenset[DataRef] | None] = {}
        self._stale: set[str] = set()
        self._last: dict[str, int] = {}
        self._turns = count(1)

    async def collect(self, store: ObjectStore, keep: Keep) -> float | None:
        """One pass. Returns the seconds after which there is more to do, None for never.

        Raises StoreError, and Displaced when the run is somebody else's.
        """
        trials = [trial for trial in self.journal.state.trials if trial.attempt > 0]
        memories = {trial.name: self._trials.setdefault(trial.name, Trial()) for trial in trials}
        self._stale = {
            trial.name for trial in trials if memories[trial.name].seen != _aspect(trial, keep)
        }
        now = self._clock.monotonic()
        todo = [name for name in memories if name in self._stale or memories[name].due <= now]
        # Who waited longest is first: of trials that save all the time none is left out.
        todo.sort(key=lambda name: self._last.get(name, 0))
        for name in todo[:TRIALS_PER_PASS]:
            self._last[name] = next(self._turns)
            await self._collect(store, name, keep)
        if self._stale:
            return 0.0
        due = min((memory.due for memory in self._trials.values()), default=float("inf"))
        return None if due == float("inf") else max(0.0, due - self._clock.monotonic())

    async def _collect(self, store: ObjectStore, name: str, keep: Keep) -> None:
        memory = self._trials[name]
        keys = self.journal.keys.trial(name)
        began = self._clock.monotonic()
        memory.known = await read_manifests(store, keys, keep.metric, memory.known)
        memory.listed = began
        self._stale.discard(name)
        survey = Survey(name, memory.known)
        self._note_clones(survey)
        await self._rested()
        trial = self._trial(name)
        lineage = Lineage.of(trial)
        if lineage is None:
            memory.seen = _aspect(trial, keep)
            return
        gone = survey.surplus(lineage, keep)
        fenced = False
        if gone:
            await self._fence(store)
            fenced = True
            await self._drop(store, keys, survey, gone, memory)
            survey = Survey(name, memory.known)
            self._note_clones(survey)
        if memory.dropped or memory.orphaned or lineage.settled(1):
            survey = Survey(name, memory.known, await read_data(store, keys))
        self._note(survey, lineage, memory)
        if due := self._due(memory):
            if not fenced:
                await self._fence(store)
            await self._delete_data(store, keys, survey, due, memory)
        await self._abort(store, keys, lineage, memory)
        memory.seen = _aspect(trial, keep)
        if trial.finished:
            memory.known = {}

    def _note_clones(self, survey: Survey) -> None:
        """Note what its clones name, and look again at trials whose data they name no more."""
        before, named = self._cloned.pop(survey.trial, frozenset()), survey.names()
        if named is None:
            self._cloned[survey.trial] = None
            if before is not None:
                odd = " ".join(map(str, sorted(survey.unreadable)))
                logger.warning(
                    "no data of %s is deleted while checkpoints of trial %s cannot be read: %s",
                    self.journal.keys.root, survey.trial, odd,
                )  # fmt: skip
            return
        after = named - survey.own(survey.manifests)
        if after:
            self._cloned[survey.trial] = after
        free = self._trials.keys() if before is None else {data.trial for data in before - after}
        for name in free - {survey.trial}:
            if memory := self._trials.get(name):
                memory.seen = None
                self._stale.add(name)

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
        memory.dropped |= survey.own(gone)
        for some in _portions(gone):
            await store.delete([keys.manifest(ref) for ref in some])
            for ref in some:
                memory.known.pop(ref, None)
            self._metrics.checkpoints_deleted.inc(len(some))
        logger.info("deleted checkpoints of %s: %s", keys.root, " ".join(map(str, gone)))

    def _note(self, survey: Survey, lineage: Lineage, memory: Trial) -> None:
        """Since when which data has no manifest; what has one again begins anew."""
        named = union([survey.names(), *self._cloned.values()])
        found = survey.orphans(lineage, named, memory.dropped)
        now = self._clock.monotonic()
        memory.orphaned = {folder: memory.orphaned.get(folder, now) for folder in found}
        memory.dropped &= survey.data.keys()

    def _due(self, memory: Trial) -> list[DataRef]:
        """What may go now: no trial can have a clone of it that was not listed."""
        listed = (self._trials[name].listed for name in self._stale)
        oldest = min(listed, default=float("inf"))
        latest = self._clock.monotonic() - GRACE_SECONDS
        return [
            folder
            for folder, since in memory.orphaned.items()
            if since <= latest and since < oldest
        ]

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
