"""What a collector deletes, when, and never."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from tests.faulty_store import Fault, FaultyStore, once
from tests.unit.experiment.stored import (
    KEEP,
    KEYS,
    TRIAL,
    Holder,
    commit,
    data_of,
    folders,
    manifests,
    refs,
    upload,
)
from tests.unit.experiment.stories import Racing, Story, played
from tests.unit.experiment.world import StillClock
from tests.unit.lifecycle.builders import NOW
from tune_operator.experiment import collector, records
from tune_operator.experiment.claim import Displaced
from tune_operator.experiment.collector import GRACE_SECONDS, Busy
from tune_operator.lifecycle.trial_state import Checkpoint, Phase, RunState, TrialState
from tune_operator.store.errors import StoreError
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import Upload
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.protocol.keys import CheckpointRef, trial_name
from tune_trainer.retry import Retry


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


async def saving(bucket: MemoryStore, clock: StillClock, *iterations: int) -> Holder:
    """An attempt that has saved at these iterations; the first was its best."""
    holder = await Holder.open(bucket, clock)
    await holder.record(bucket, attempt=1, open=True, phase=Phase.RUNNING)
    for iteration in iterations:
        commit(bucket, CheckpointRef(1, iteration), loss=float(iteration))
    return holder


class TestManifests:
    async def test_the_latest_and_the_best_stay(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4, 5)
        wait = await holder.collect(bucket)
        assert manifests(bucket) == {"1-1", "1-4", "1-5"}
        assert folders(bucket) == {"1-1", "1-2", "1-3", "1-4", "1-5"}, "data goes later"
        assert wait == GRACE_SECONDS
        assert holder.metrics.registry.get_sample_value("tune_checkpoints_deleted_total") == 2

    async def test_what_is_in_order_is_not_asked_for_again(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2)
        store = FaultyStore(bucket)
        assert await holder.collect(store) is None
        asked = len(store.history)
        assert await holder.collect(store) is None
        assert len(store.history) == asked
        await holder.record(bucket, checkpoint=Checkpoint(CheckpointRef(1, 2), NOW))
        await holder.collect(store)
        assert [op.name for op in store.history[asked:]] == ["list"], "what was read is known"

    async def test_a_smaller_keep_is_heeded(self, bucket: MemoryStore, clock: StillClock) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        await holder.collect(bucket, replace(KEEP, latest=4))
        assert manifests(bucket) == {"1-1", "1-2", "1-3", "1-4"}
        await holder.collect(bucket)
        assert manifests(bucket) == {"1-1", "1-3", "1-4"}

    async def test_a_zombies_go(self, bucket: MemoryStore, clock: StillClock) -> None:
        holder = await saving(bucket, clock, 1, 2)
        await holder.record(bucket, attempt=2, plan=refs("1-2 1-1"))
        commit(bucket, CheckpointRef(1, 3), loss=0.0)
        commit(bucket, CheckpointRef(2, 3), loss=3.0)
        await holder.collect(bucket)
        assert manifests(bucket) == {"1-1", "1-2", "2-3"}

    async def test_damaged_ones_are_no_substitute(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4, 5)
        for damaged in refs("1-4 1-5"):
            bucket.objects[TRIAL.manifest(damaged)] += b"?"
        await holder.collect(bucket)
        assert manifests(bucket) == {"1-1", "1-2", "1-3", "1-4", "1-5"}


class TestData:
    async def test_goes_when_nobody_can_still_read_it(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        await holder.collect(bucket)
        clock.advance(GRACE_SECONDS - 1)
        assert await holder.collect(bucket) == 1
        assert "1-2" in folders(bucket)
        clock.advance(1)
        assert await holder.collect(bucket) is None
        assert folders(bucket) == {"1-1", "1-3", "1-4"} == manifests(bucket)
        size = len(data_of(CheckpointRef(1, 2)))
        counted = holder.metrics.registry.get_sample_value("tune_checkpoint_bytes_deleted_total")
        assert counted == size

    async def test_after_a_restart_its_grace_begins_anew_when_its_attempt_is_over(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        await holder.collect(bucket)
        holder.collector = holder.restarted()
        clock.advance(GRACE_SECONDS)
        await holder.collect(bucket)
        assert "1-2" in folders(bucket), "it looks like an upload that is under way"
        await holder.record(bucket, attempt=2, plan=refs("1-4 1-3 1-1"))
        assert await holder.collect(bucket) == GRACE_SECONDS
        clock.advance(GRACE_SECONDS)
        await holder.collect(bucket)
        assert folders(bucket) == {"1-1", "1-3", "1-4"}

    async def test_of_an_upload_under_way_stays(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        upload(bucket, CheckpointRef(1, 5))
        await holder.collect(bucket)
        clock.advance(10 * GRACE_SECONDS)
        await holder.collect(bucket)
        assert "1-5" in folders(bucket)

    async def test_that_a_manifest_names_after_all_stays(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        """A LIST that shows less than there is deletes nothing that can be read."""
        holder = await saving(bucket, clock, 1, 2)
        await holder.record(bucket, attempt=2, plan=refs("1-2 1-1"))

        class Blind(MemoryStore):
            async def list(self, prefix: str, after: str = "") -> list[str]:
                return [] if prefix == TRIAL.manifests() else await super().list(prefix, after)

        blind = Blind()
        blind.objects = bucket.objects
        assert await holder.collect(blind) == GRACE_SECONDS
        clock.advance(GRACE_SECONDS)
        await holder.collect(blind)
        assert folders(bucket) == {"1-1", "1-2"}


class TestUploads:
    async def test_of_attempts_that_are_over_are_ended(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1)
        await holder.record(bucket, attempt=2, plan=refs("1-1"))
        old, new = (Upload(f"{TRIAL.data(ref, 'n2')}model", "u") for ref in refs("1-2 2-3"))
        bucket.begun |= {old, new}
        await holder.collect(bucket)
        assert bucket.begun == {new}
        await holder.record(bucket, open=False, plan=refs("1-1"))
        await holder.collect(bucket)
        assert bucket.begun == set()

    async def test_that_may_not_be_listed_hold_nothing_up(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        await holder.record(
            bucket, open=False, phase=Phase.TERMINATED, plan=refs("1-4 1-3 1-2 1-1")
        )
        store = FaultyStore(bucket, once("uploads", Fault.REFUSED))
        await holder.collect(store)
        assert manifests(bucket) == {"1-1", "1-3", "1-4"}


class TestManyTrials:
    async def test_none_is_left_out_when_others_save_all_the_time(
        self, bucket: MemoryStore, clock: StillClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(collector, "TRIALS_PER_PASS", 2)
        holder = await Holder.open(bucket, clock)
        keeps = cycle([KEEP, replace(KEEP, best=0)])  # as if all had saved before each pass
        trials = tuple(TrialState(trial_name(n), attempt=1, open=True) for n in range(5))
        await holder.journal.commit(
            bucket, records.changes(holder.journal.state, RunState(trials=trials))
        )
        store = FaultyStore(bucket)
        assert [await holder.collect(store, next(keeps)) for _ in range(2)] == [0.0, 0.0]
        await holder.collect(store, next(keeps))
        listed = {op.key for op in store.history if op.key.endswith("/m/")}
        assert listed == {KEYS.trial(trial.name).manifests() for trial in trials}


class TestOwnership:
    async def test_who_was_overtaken_deletes_nothing(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        await Holder.open(bucket, clock, "b")
        with pytest.raises(Displaced):
            await holder.collect(bucket)
        assert manifests(bucket) == {"1-1", "1-2", "1-3", "1-4"}

    async def test_a_zombie_that_another_has_fenced_pushes_nothing_out(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        """The old owner's LIST shows commits that the new one knows not to count."""
        old = await saving(bucket, clock, 1, 2)
        store = FaultyStore(bucket, once("list", Fault.HANG, TRIAL.manifests()))
        task = asyncio.ensure_future(old.collect(store))
        await asyncio.sleep(0)
        new = await Holder.open(bucket, clock, "b")
        await new.record(bucket, attempt=2, plan=refs("1-2 1-1"))
        for iteration in (3, 4):
            commit(bucket, CheckpointRef(1, iteration), loss=0.0)
        store.waiting[0].go()
        with pytest.raises(Displaced):
            await task
        await new.collect(bucket)
        assert manifests(bucket) == {"1-1", "1-2"}

    async def test_a_decision_under_way_is_waited_for(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        """A look has read the ending of the attempt, and its zombie commits before it is said."""
        holder = await saving(bucket, clock, 1, 2)
        holder.run.at_rest.clear()
        for iteration in (3, 4):
            commit(bucket, CheckpointRef(1, iteration), loss=0.0)
        task = asyncio.ensure_future(holder.collect(bucket))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
        await holder.record(bucket, attempt=2, plan=refs("1-2 1-1"))
        holder.run.at_rest.set()
        await task
        assert manifests(bucket) == {"1-1", "1-2"}

    async def test_a_commit_that_the_store_did_not_take_is_waited_for(
        self, bucket: MemoryStore, clock: StillClock
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        down = FaultyStore(bucket)
        down.down = True
        with pytest.raises(StoreError):
            await holder.record(down, attempt=2, plan=refs("1-4"))
        with pytest.raises(Busy):
            await holder.collect(bucket)
        assert manifests(bucket) == {"1-1", "1-2", "1-3", "1-4"}

    @pytest.mark.parametrize("fault", [Fault.LOST, Fault.REFUSED, Fault.UNHEARD, Fault.LATE])
    async def test_a_deletion_that_failed_is_done_again(
        self, bucket: MemoryStore, clock: StillClock, fault: Fault
    ) -> None:
        holder = await saving(bucket, clock, 1, 2, 3, 4)
        store = FaultyStore(bucket, once("delete", fault))
        with pytest.raises(StoreError):
            await holder.collect(store)
        await holder.collect(store)
        await store.land()
        assert manifests(bucket) == {"1-1", "1-3", "1-4"}
        clock.advance(GRACE_SECONDS)
        await holder.collect(store)
        assert folders(bucket) == {"1-1", "1-3", "1-4"}, "though the attempt lives"


@pytest.mark.parametrize("damaged", [0, 1, 2, 3])
def test_a_restore_finds_all_of_its_plan_whatever_is_collected_meanwhile(
    tmp_path: Path, bucket: MemoryStore, clock: StillClock, damaged: int
) -> None:
    plan = refs("1-4 1-3 1-2 1-1")
    holder = asyncio.run(saving(bucket, clock, 4, 3, 2, 1))
    asyncio.run(holder.record(bucket, attempt=2, plan=plan))
    commit(bucket, CheckpointRef(1, 9), loss=-1.0)  # a zombie's: there is something to collect
    for ref in plan[:damaged]:
        bucket.objects[f"{TRIAL.data(ref, 'n1')}model"] += b"?"

    store = Racing(bucket, holder, clock)
    with fetch(store, TRIAL, plan, tmp_path, Retry(1.0)) as restored:
        assert restored.manifest.ref == plan[damaged]
        assert (restored.directory / "model").read_bytes() == data_of(plan[damaged])
    assert manifests(bucket) == {"1-1", "1-2", "1-3", "1-4"} == folders(bucket)


async def test_no_operator_ever_deletes_what_a_trial_needs() -> None:
    stories = await played(Story, seeds=30, steps=300)
    assert sum(story.deleted for story in stories) > 100, "otherwise it says nothing"
