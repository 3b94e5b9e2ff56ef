"""Collectors at work while trainers save and restore: what they race with, and whole stories."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from itertools import cycle
from typing import TypeVar

from tests.faulty_store import Fault, FaultyStore, Operation
from tests.model.cluster import Clocks
from tests.unit.experiment.stored import (
    KEEP,
    TRIAL,
    Holder,
    commit,
    folders,
    manifests,
)
from tests.unit.experiment.world import StillClock
from tests.unit.lifecycle.builders import NOW
from tests.unit.trainer.memory_store import MemoryStore as TrainerStore
from tune_operator.experiment.claim import Displaced
from tune_operator.experiment.collector import GRACE_SECONDS, Busy
from tune_operator.lifecycle.objective import rank
from tune_operator.lifecycle.settle import resume_plan
from tune_operator.lifecycle.trial_state import Checkpoint, Phase
from tune_operator.store.errors import StoreError
from tune_operator.store.memory import MemoryStore
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys, parse_manifest_key


class Racing(TrainerStore):
    """A trainer's store in which all that can be collected is collected before each read."""

    def __init__(self, bucket: MemoryStore, holder: Holder, clock: Clocks) -> None:
        super().__init__()
        self.objects = bucket.objects
        self._bucket, self._holder, self._clock = bucket, holder, clock
        self._turn = threading.Lock()
        self._keeps = cycle([KEEP, replace(KEEP, best=0)])

    def get(self, key: str) -> bytes:
        """Of ranges, too."""
        with self._turn:
            self._clock.advance(2 * GRACE_SECONDS)
            # A change makes it look again at what was in order.
            asyncio.run(self._holder.collect(self._bucket, next(self._keeps)))
        return super().get(key)


def slow(operation: Operation) -> Fault | None:
    """What matters waits for its answer; what is read never changes."""
    return Fault.HANG if operation.name in ("list", "page", "delete") else None


class Story:
    """Two operators collect one run over a store that does with each request what it likes, while
    its only trial lives on: it saves, is settled, starts again, and its zombies go on saving.

    ``own`` are the commits that count, with their scores.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = StillClock()
        self.bucket = MemoryStore()
        self.holders: list[Holder] = []
        self.stores: list[FaultyStore] = []
        self.tasks: dict[int, asyncio.Task[object]] = {}
        self.own: dict[CheckpointRef, float] = {}
        self.listed: tuple[CheckpointRef, ...] | None = None
        self.late: set[CheckpointRef] = set()
        self.deleted = 0

    @property
    def owner(self) -> Holder:
        return self.holders[-1]

    async def play(self, steps: int) -> None:
        await self.begin()
        moves = self.moves()
        for _ in range(steps):
            await self.chance.choice(moves)()
            self.check()
        for task in self.tasks.values():
            task.cancel()

    async def begin(self) -> None:
        await self.take_over()
        await self.owner.record(self.bucket, attempt=1, open=True, phase=Phase.RUNNING)

    def moves(self) -> list[Callable[[], Awaitable[None]]]:
        """One of these at a time, the frequent ones more than once."""
        often = [*[self.save] * 4, *[self.collect] * 3, *[self.answer] * 20]
        return [*often, self.zombie, self.end, self.time, self.take_over]

    async def take_over(self) -> None:
        if len(self.holders) < 4 and (not self.holders or self.chance.random() < 0.1):
            number = len(self.holders)
            self.holders.append(await Holder.open(self.bucket, self.clock, "abcd"[number]))
            self.stores.append(FaultyStore(self.bucket, slow))
            # What the last owner was about to say is not said: its zombie was none.
            self.own |= dict.fromkeys(self.late, -1.0)
            self.listed, self.late = None, set()

    async def save(self) -> None:
        trial = self.owner.journal.state.trials[0]
        if trial.open and self.listed is None:
            newest = max((ref.iteration for ref in self.own), default=0)
            ref = CheckpointRef(trial.attempt, newest + 1)
            self.own[ref] = self.chance.choice([0.0, 1.0, 2.0, 3.0])
            commit(self.bucket, ref, loss=self.own[ref])

    async def zombie(self) -> None:
        attempt = self.owner.journal.state.trials[0].attempt - (self.listed is None)
        ref = CheckpointRef(attempt, self.chance.randint(1, 60))
        if attempt > 0 and ref not in {*self.own, *(self.listed or ())}:
            commit(self.bucket, ref, loss=-1.0)
            if attempt == self.owner.journal.state.trials[0].attempt:
                self.late.add(ref)

    async def end(self) -> None:
        """In two steps, as in life: the LIST of what counts, and the record that says so."""
        trial = self.owner.journal.state.trials[0]
        if self.listed is None:
            self.owner.run.at_rest.clear()
            found = map(parse_manifest_key, await self.bucket.list(TRIAL.manifests()))
            self.listed = tuple(ref for ref in found if ref is not None)
            return
        plan = resume_plan(trial, self.listed)
        known = Checkpoint(plan[0], NOW) if plan else None
        await self.owner.record(self.bucket, attempt=trial.attempt + 1, plan=plan, checkpoint=known)
        self.listed, self.late = None, set()
        self.owner.run.at_rest.set()

    async def collect(self) -> None:
        number = self.chance.randrange(len(self.holders))
        task = self.tasks.get(number)
        if task is None or task.done():
            keep = replace(KEEP, best=self.chance.choice([1, 2]))  # a change makes it look
            work = self.holders[number].collect(self.stores[number], keep)
            self.tasks[number] = asyncio.ensure_future(work)
            await asyncio.sleep(0)

    async def answer(self) -> None:
        store = self.chance.choice(self.stores)
        if store.waiting:
            fault = self.chance.choice([*[None] * 30, Fault.LOST, Fault.UNHEARD, Fault.LATE])
            self.deleted += store.waiting[0].name == "delete" and fault is None
            store.waiting[0].go(fault)
        elif store.late and self.chance.random() < 0.3:
            await store.land()
        for _ in range(5):
            await asyncio.sleep(0)
        for task in self.tasks.values():
            if task.done() and task.exception() is not None:
                assert isinstance(task.exception(), StoreError | Displaced | Busy)

    async def time(self) -> None:
        self.clock.advance(self.chance.choice([1.0, GRACE_SECONDS / 2, GRACE_SECONDS]))

    def check(self) -> None:
        self.stay(self.own, TRIAL)
        trial = self.owner.journal.state.trials[0] if self.owner.journal.state.trials else None
        committed = trial and any(ref.attempt == trial.attempt for ref in self.own)
        for ref in trial.plan[:2] if trial and not committed else ():
            assert str(ref) in manifests(self.bucket), f"{ref} is to be restored from"
        assert manifests(self.bucket) <= folders(self.bucket), "a checkpoint without its data"

    def stay(self, counted: Mapping[CheckpointRef, float], of: TrialKeys) -> None:
        """The latest and the best of what counts are there."""
        latest = sorted(counted, reverse=True)[:2]
        best = max(counted, key=lambda ref: (rank(counted[ref], "min"), ref), default=None)
        for ref in {*latest, *([best] if best else [])}:
            assert str(ref) in manifests(self.bucket, of), f"{ref} of trial {of.trial} is gone"


Kind = TypeVar("Kind", bound=Story)


async def played(kind: type[Kind], *, seeds: int, steps: int) -> list[Kind]:
    """That many stories; an AssertionError tells which one broke a rule."""
    stories = []
    for seed in range(seeds):
        story = kind(seed)
        try:
            await story.play(steps)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        stories.append(story)
    return stories
