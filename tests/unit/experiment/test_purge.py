"""All of a run goes from the store, and nobody begins it again meanwhile."""

from __future__ import annotations

import pytest

from tests.faulty_store import Fault, FaultyStore, once, seeded
from tests.unit.experiment.stored import KEYS, TRIAL, Holder, commit, refs
from tests.unit.experiment.world import StillClock
from tune_operator.experiment.claim import Displaced, RunPurged
from tune_operator.experiment.purge import nothing_left, purge
from tune_operator.store.errors import StoreError
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import Upload
from tune_trainer.protocol.keys import parse_segment_key

OTHERS = {
    "runs/team-a/digits/another-run/t/00000/m/00001-0000000001.json": b"",
    f"{KEYS.root}-2/t/00000/x": b"",
}


@pytest.fixture
def bucket() -> MemoryStore:
    store = MemoryStore()
    store.objects.update(OTHERS)
    return store


async def full(bucket: MemoryStore) -> Holder:
    """A run that was held twice, with all that it may have."""
    await Holder.open(bucket, StillClock())
    holder = await Holder.open(bucket, StillClock(), "b")
    await holder.record(bucket, attempt=1)
    for ref in refs("1-1 1-2"):
        commit(bucket, ref, loss=0.0)
    bucket.objects[TRIAL.exit_record(1)] = b"{}"
    bucket.objects[f"{KEYS.snapshots()}1"] = b"{}"
    bucket.begun.add(Upload(f"{TRIAL.data(refs('1-3')[0], 'n')}model", "u"))
    return holder


async def test_nothing_of_it_is_left_and_nothing_else_is_touched(bucket: MemoryStore) -> None:
    holder = await full(bucket)
    await purge(bucket, KEYS, holder.journal.term)
    assert bucket.objects == OTHERS
    assert bucket.begun == set()
    assert await nothing_left(bucket, KEYS)


async def test_the_mark_is_first_to_come_and_last_to_go(bucket: MemoryStore) -> None:
    holder = await full(bucket)
    store = FaultyStore(bucket)
    await purge(store, KEYS, holder.journal.term)
    writes = [operation for operation in store.history if operation.writes and operation.key]
    assert (writes[0].name, writes[0].key) == ("put", KEYS.purging())
    assert (writes[-1].name, writes[-1].key) == ("delete", KEYS.purging())
    claims = [parse_segment_key(operation.key) for operation in writes[:-1]]
    assert [segment is not None and segment.seq == 0 for segment in claims][-1]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_fails_it_is_done_in_the_end(bucket: MemoryStore, seed: int) -> None:
    holder = await full(bucket)
    store = FaultyStore(bucket, seeded(seed, 0.3))
    for _ in range(100):
        try:
            await purge(store, KEYS, holder.journal.term)
        except StoreError:
            continue
        break
    store.script = lambda _: None
    await store.land()
    await purge(store, KEYS, holder.journal.term)  # a mark may have landed late
    assert bucket.objects == OTHERS


async def test_what_is_marked_is_never_opened_again(bucket: MemoryStore) -> None:
    holder = await full(bucket)
    store = FaultyStore(bucket, once("delete", Fault.LOST))
    with pytest.raises(StoreError):
        await purge(store, KEYS, holder.journal.term)
    before = dict(bucket.objects)
    with pytest.raises(RunPurged):
        await Holder.open(bucket, StillClock(), "c")
    assert bucket.objects == before, "nothing is written"


async def test_who_holds_it_leaves_at_his_next_commit(bucket: MemoryStore) -> None:
    holder = await full(bucket)
    bucket.objects[KEYS.purging()] = b"{}"
    with pytest.raises(Displaced):
        await holder.record(bucket, attempt=2)


@pytest.mark.parametrize("when", ["before", "between"])
async def test_a_run_that_somebody_else_has_opened_is_not_deleted(
    bucket: MemoryStore, when: str
) -> None:
    holder = await full(bucket)
    if when == "before":
        await Holder.open(bucket, StillClock(), "c")
        before = dict(bucket.objects)
        with pytest.raises(Displaced):
            await purge(bucket, KEYS, holder.journal.term)
        assert bucket.objects == before
        return

    class Slow(MemoryStore):
        async def put(self, key: str, data: bytes) -> None:
            await Holder.open(bucket, StillClock(), "c")
            await super().put(key, data)

    slow = Slow()
    slow.objects = bucket.objects
    with pytest.raises(Displaced):
        await purge(slow, KEYS, holder.journal.term)
    assert TRIAL.manifest(refs("1-1")[0]) in bucket.objects
    await purge(bucket, KEYS, holder.journal.term + 1)  # the new owner goes on with it
    assert bucket.objects == OTHERS


async def test_a_store_that_does_not_delete_is_not_asked_for_ever(bucket: MemoryStore) -> None:
    holder = await full(bucket)

    class Stuck(MemoryStore):
        async def delete(self, keys: object) -> None:
            """Says it did."""

    stuck = Stuck()
    stuck.objects = bucket.objects
    with pytest.raises(StoreError, match="is there after it was deleted"):
        await purge(stuck, KEYS, holder.journal.term)
