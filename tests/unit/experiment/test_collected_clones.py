"""What a clone refers to stays, whatever becomes of the trial that it was made from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faulty_store import Fault, FaultyStore, once
from tests.unit.experiment.stored import (
    OTHER,
    TRIAL,
    Holder,
    clone,
    commit,
    data_of,
    folders,
    manifests,
    refs,
)
from tests.unit.experiment.stories import Racing, Story, played
from tests.unit.experiment.world import StillClock
from tests.unit.lifecycle.builders import NOW
from tune_operator.experiment.collector import GRACE_SECONDS
from tune_operator.lifecycle.settle import resume_plan
from tune_operator.lifecycle.trial_state import Checkpoint, Phase
from tune_operator.store.errors import StoreError
from tune_operator.store.memory import MemoryStore
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys, parse_manifest_key
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.retry import Retry

CLONE = CheckpointRef(2, 2)


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


async def saved(bucket: MemoryStore, clock: StillClock) -> Holder:
    """A trial that saved at 1, 2 and 3, and one that has its checkpoint 2 as a clone."""
    holder = await Holder.open(bucket, clock)
    await holder.record(bucket, attempt=1, open=True, phase=Phase.RUNNING)
    for ref in refs("1-1 1-2 1-3"):
        commit(bucket, ref, loss=float(ref.iteration))
    clone(bucket, TRIAL.manifest(CheckpointRef(1, 2)), CLONE)
    await holder.record(bucket, 1, attempt=2, open=True, phase=Phase.RUNNING, plan=(CLONE,))
    return holder


async def ended(bucket: MemoryStore, clock: StillClock) -> Holder:
    """The same when the first trial has saved on and has ended."""
    holder = await saved(bucket, clock)
    goes_on(bucket, TRIAL, "1-4", "1-5")
    await holder.record(bucket, open=False, phase=Phase.TERMINATED, plan=refs("1-5 1-4"))
    return holder


def goes_on(bucket: MemoryStore, of: TrialKeys, *names: str) -> None:
    """Newer checkpoints, better ones each time: the older are surplus."""
    for ref in refs(" ".join(names)):
        commit(bucket, ref, of, loss=-float(ref.iteration))


async def reported(holder: Holder, bucket: MemoryStore, index: int, newest: str) -> None:
    """The operator learns of a trial's newest checkpoint."""
    checkpoint = Checkpoint(CheckpointRef.parse(newest), NOW)
    await holder.record(bucket, index, checkpoint=checkpoint)


async def settled(holder: Holder, bucket: MemoryStore, clock: StillClock) -> None:
    """Collect until there is nothing more to do, however long it takes."""
    while (wait := await holder.collect(bucket)) is not None:
        clock.advance(wait)


async def test_the_source_may_go_and_its_data_stay(bucket: MemoryStore, clock: StillClock) -> None:
    holder = await saved(bucket, clock)
    goes_on(bucket, TRIAL, "1-4", "1-5")
    await settled(holder, bucket, clock)
    assert manifests(bucket) == {"1-4", "1-5"}
    assert folders(bucket) == {"1-2", "1-4", "1-5"}
    assert manifests(bucket, OTHER) == {"2-2"}


async def test_when_the_clone_goes_so_do_its_data_though_their_trial_has_ended(
    bucket: MemoryStore, clock: StillClock
) -> None:
    holder = await ended(bucket, clock)
    await settled(holder, bucket, clock)
    assert "1-2" in folders(bucket)
    goes_on(bucket, OTHER, "2-3", "2-4")
    await reported(holder, bucket, 1, "2-4")
    await settled(holder, bucket, clock)
    assert manifests(bucket, OTHER) == {"2-3", "2-4"}
    assert folders(bucket) == {"1-4", "1-5"}


async def test_a_plan_pins_what_its_clones_refer_to(bucket: MemoryStore, clock: StillClock) -> None:
    holder = await saved(bucket, clock)
    goes_on(bucket, TRIAL, "1-4", "1-5")
    goes_on(bucket, OTHER, "2-3", "2-4")
    await holder.record(bucket, 1, attempt=3, plan=refs("2-4 2-3 2-2"))
    await settled(holder, bucket, clock)
    assert manifests(bucket, OTHER) == {"2-2", "2-3", "2-4"}
    assert "1-2" in folders(bucket)


async def test_a_clone_of_a_clone_has_the_data_too(bucket: MemoryStore, clock: StillClock) -> None:
    """It may be in the trial that the data are of."""
    holder = await saved(bucket, clock)
    back = CheckpointRef(2, 2)
    clone(bucket, OTHER.manifest(CLONE), back, TRIAL)
    await holder.record(bucket, attempt=2, plan=(back,))
    goes_on(bucket, OTHER, "2-3", "2-4")
    await reported(holder, bucket, 1, "2-4")
    await settled(holder, bucket, clock)
    assert manifests(bucket) == {"2-2"}
    assert manifests(bucket, OTHER) == {"2-3", "2-4"}
    assert folders(bucket) == {"1-2"}


async def test_no_data_go_while_a_manifest_cannot_be_read(
    bucket: MemoryStore, clock: StillClock
) -> None:
    """It may be a clone that a newer version wrote."""
    holder = await saved(bucket, clock)
    goes_on(bucket, TRIAL, "1-4", "1-5")
    bucket.objects[OTHER.manifest(CLONE)] += b"?"
    await settled(holder, bucket, clock)
    assert folders(bucket) == {"1-1", "1-2", "1-3", "1-4", "1-5"}
    await holder.record(bucket, 1, attempt=3, plan=())  # now it is a zombie's
    await settled(holder, bucket, clock)
    assert manifests(bucket, OTHER) == set()
    assert folders(bucket) == {"1-4", "1-5"}


async def test_a_trial_that_could_not_be_listed_may_have_a_clone(
    bucket: MemoryStore, clock: StillClock
) -> None:
    holder = await Holder.open(bucket, clock)
    await holder.record(bucket, attempt=1, open=True)
    await holder.record(bucket, 1, attempt=1, open=True)
    goes_on(bucket, TRIAL, "1-2")
    await holder.collect(bucket)
    clone(bucket, TRIAL.manifest(CheckpointRef(1, 2)), CLONE)
    await holder.record(bucket, 1, attempt=2, plan=(CLONE,))
    goes_on(bucket, TRIAL, "1-4", "1-5")
    await reported(holder, bucket, 0, "1-5")
    store = FaultyStore(bucket, once("list", Fault.LOST, OTHER.manifests()))
    with pytest.raises(StoreError):
        await holder.collect(store)
    assert manifests(bucket) == {"1-4", "1-5"}
    clock.advance(2 * GRACE_SECONDS)
    await settled(holder, bucket, clock)
    assert "1-2" in folders(bucket)


async def test_an_operator_that_starts_looks_at_all_trials_before_data_go(
    bucket: MemoryStore, clock: StillClock
) -> None:
    holder = await ended(bucket, clock)
    holder.collector = holder.restarted()
    await settled(holder, bucket, clock)
    assert folders(bucket) == {"1-2", "1-4", "1-5"}


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_restore_finds_the_data_of_its_clones_whatever_is_collected_meanwhile(
    tmp_path: Path, bucket: MemoryStore, clock: StillClock, damaged: int
) -> None:
    holder = asyncio.run(saved(bucket, clock))
    older = CheckpointRef(2, 1)
    clone(bucket, TRIAL.manifest(CheckpointRef(1, 1)), older)
    plan = (CLONE, older)
    asyncio.run(holder.record(bucket, 1, attempt=3, plan=plan))
    goes_on(bucket, TRIAL, "1-4", "1-5")
    asyncio.run(holder.record(bucket, open=False, phase=Phase.TERMINATED, plan=refs("1-5 1-4")))
    for ref in refs("1-2 1-1")[:damaged]:
        bucket.objects[f"{TRIAL.data(ref, 'n1')}model"] += b"?"
    store = Racing(bucket, holder, clock)
    with fetch(store, OTHER, plan, tmp_path, Retry(1.0)) as restored:
        assert restored.manifest.ref == plan[damaged]
        source = CheckpointRef(1, plan[damaged].iteration)
        assert (restored.directory / "model").read_bytes() == data_of(source)
    asyncio.run(settled(holder, bucket, clock))
    assert manifests(bucket) == {"1-4", "1-5"}
    assert folders(bucket) == {"1-1", "1-2", "1-4", "1-5"}


class Exploits(Story):
    """The same with a second trial that saves, and now and then goes on from a clone of either.

    As in life: the choice is made, the clone is written, the source is seen to be there still, and
    only then does the clone count. ``line`` is what the second trial may be restored from.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.line: dict[CheckpointRef, float] = {}
        self.counting: set[str] = set()
        self.source = ""
        self.target: CheckpointRef | None = None
        self.needs: dict[str, str] = {}
        self.outlived = 0

    def moves(self) -> list[Callable[[], Awaitable[None]]]:
        return [*super().moves(), *[self.exploit] * 3, self.save_other]

    async def begin(self) -> None:
        await super().begin()
        await self.owner.record(self.bucket, 1, attempt=1, open=True, phase=Phase.RUNNING)

    async def take_over(self) -> None:
        before = len(self.holders)
        await super().take_over()
        if len(self.holders) > before:
            self.source, self.target = "", None  # the choice was nobody's but its maker's

    async def exploit(self) -> None:
        if len(self.owner.journal.state.trials) < 2 or self.listed is not None:
            return
        if not self.source:
            counted = [TRIAL.manifest(ref) for ref in self.own]
            counted += [OTHER.manifest(ref) for ref in self.line]
            found = sorted(key for key in counted if key in self.bucket.objects)
            self.source = self.chance.choice(found) if found else ""
        elif self.target is None:
            await self.write()
        else:
            await self.adopt(self.target)

    async def write(self) -> None:
        if self.source not in self.bucket.objects:
            self.source = ""
            return
        listed = map(parse_manifest_key, await self.bucket.list(OTHER.manifests()))
        known = self.owner.journal.state.trials[1].attempt
        attempt = 1 + max([known, *(ref.attempt for ref in listed if ref is not None)])
        found = parse_manifest_key(self.source)
        assert found is not None
        self.target = CheckpointRef(attempt, found.iteration)
        clone(self.bucket, self.source, self.target)

    async def adopt(self, target: CheckpointRef) -> None:
        there = self.source in self.bucket.objects
        listed = map(parse_manifest_key, await self.bucket.list(OTHER.manifests()))
        ended = self.owner.journal.state.trials[1]
        old = resume_plan(ended, tuple(ref for ref in listed if ref is not None))
        plan = (target,) if there else old
        await self.owner.record(self.bucket, 1, attempt=target.attempt + (not there), plan=plan)
        if there:
            score = Manifest.from_bytes(self.bucket.objects[OTHER.manifest(target)]).metrics["loss"]
            self.line = {target: score}
            self.counting.add(OTHER.manifest(target))
        self.source, self.target = "", None

    async def save_other(self) -> None:
        trials = self.owner.journal.state.trials
        if self.line and len(trials) > 1 and self.target is None:
            newest = max(ref.iteration for ref in self.line)
            ref = CheckpointRef(trials[1].attempt, newest + 1)
            self.line[ref] = self.chance.choice([0.0, 1.0, 2.0, 3.0])
            commit(self.bucket, ref, OTHER, loss=self.line[ref])
            self.counting.add(OTHER.manifest(ref))

    def check(self) -> None:
        super().check()
        self.stay(self.line, OTHER)
        for key in self.counting & self.bucket.objects.keys():
            if key not in self.needs:
                made = Manifest.from_bytes(self.bucket.objects[key])
                self.needs[key] = f"{OTHER.folder(made.data)}model"
            assert self.needs[key] in self.bucket.objects, f"{key} without its data"
            folder = self.needs[key].rpartition("/")[0]
            own = folder.replace("/d/", "/m/").removesuffix("-n1") + ".json"
            self.outlived += own not in self.bucket.objects


async def test_no_operator_ever_deletes_what_a_clone_refers_to() -> None:
    stories = await played(Exploits, seeds=7, steps=400)
    assert sum(story.outlived for story in stories) > 100, "otherwise it says nothing"
