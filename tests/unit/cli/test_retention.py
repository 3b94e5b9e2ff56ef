"""The dry run names what the collector then deletes, and deletes nothing."""

from __future__ import annotations

import pytest

from tests.faulty_store import FaultyStore
from tests.unit.experiment.stored import (
    KEEP,
    KEYS,
    TRIAL,
    Holder,
    clone,
    commit,
    folders,
    manifests,
    refs,
    upload,
)
from tests.unit.experiment.world import StillClock
from tune_operator.cli import retention
from tune_operator.experiment.collector import GRACE_SECONDS
from tune_operator.store.memory import MemoryStore


async def test_it_names_what_goes_and_only_looks() -> None:
    bucket, clock = MemoryStore(), StillClock()
    holder = await Holder.open(bucket, clock)
    await holder.record(bucket, attempt=2, open=True, plan=refs("1-5 1-4 1-1"))
    for ref in refs("1-1 1-4 1-5 1-6 2-7 2-8"):
        commit(bucket, ref, loss=float(ref.iteration))
    upload(bucket, refs("1-9")[0])
    before = dict(bucket.objects)
    store = FaultyStore(bucket)
    lines = [line async for line in retention.would_go(store, KEYS, KEEP)]
    assert bucket.objects == before
    assert not [operation for operation in store.history if operation.writes]
    await holder.collect(bucket)
    clock.advance(GRACE_SECONDS)
    await holder.collect(bucket)
    gone = before.keys() - bucket.objects.keys()
    assert manifests(bucket) == {"1-1", "2-7", "2-8"}
    assert {line.partition(" ")[0] for line in lines[:-1]} == {
        key.removesuffix("model") for key in gone
    }
    size = sum(len(before[key]) for key in gone if key.endswith("model"))
    assert lines[-1].startswith(f"3 checkpoints and {size} bytes")


async def test_what_a_clone_refers_to_would_stay() -> None:
    bucket, clock = MemoryStore(), StillClock()
    holder = await Holder.open(bucket, clock)
    await holder.record(bucket, attempt=1, open=True)
    for ref in refs("1-1 1-2 1-3 1-4 1-5"):
        commit(bucket, ref, loss=-float(ref.iteration))
    copy = refs("2-2")[0]
    clone(bucket, TRIAL.manifest(refs("1-2")[0]), copy)
    await holder.record(bucket, 1, attempt=2, open=True, plan=(copy,))
    before = dict(bucket.objects)
    lines = [line async for line in retention.would_go(bucket, KEYS, KEEP)]
    await holder.collect(bucket)
    clock.advance(GRACE_SECONDS)
    await holder.collect(bucket)
    gone = before.keys() - bucket.objects.keys()
    assert {line.partition(" ")[0] for line in lines[:-1]} == {
        key.removesuffix("model") for key in gone
    }
    assert manifests(bucket) == {"1-4", "1-5"}
    assert folders(bucket) == {"1-2", "1-4", "1-5"}


async def test_a_checkpoint_that_cannot_be_read_is_said_to_hold_all_data() -> None:
    bucket = MemoryStore()
    holder = await Holder.open(bucket, StillClock())
    await holder.record(bucket, attempt=1, open=True)
    for ref in refs("1-1 1-2 1-3 1-4"):
        commit(bucket, ref, loss=-float(ref.iteration))
    bucket.objects[TRIAL.manifest(refs("1-2")[0])] += b"?"
    lines = [line async for line in retention.would_go(bucket, KEYS, KEEP)]
    key = TRIAL.manifest(refs("1-2")[0])
    assert lines[0] == f"no data would go: {key} cannot be read, and may need any"
    assert lines[1] == TRIAL.manifest(refs("1-1")[0])
    assert lines[2].startswith("1 checkpoints and 0 bytes")


async def test_of_a_run_that_goes_as_a_whole_it_says_so() -> None:
    bucket = MemoryStore()
    bucket.objects[KEYS.purging()] = b"{}"
    lines = [line async for line in retention.would_go(bucket, KEYS, KEEP)]
    assert lines == [f"{KEYS.root} is being deleted as a whole"]
    assert TRIAL.root.startswith(KEYS.root)


def test_it_asks_for_namespace_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        retention.main(["team-a"])
    assert "name" in capsys.readouterr().err
