"""Checkpoints as a whole: what is saved is what is restored, and nothing else ever is."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.trainer.build import KEYS, Files, Ledger, at, files, quick_retry, read_files, saver
from tests.unit.trainer.faults import Fault, FaultyStore
from tests.unit.trainer.memory_store import MemoryStore
from tune_trainer.checkpoint import layout
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.errors import AttemptFailed, Fenced, Unusable
from tune_trainer.progress import Progress
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.result import Result
from tune_trainer.store.base import Data, Unavailable

SAVES = dict[str, bytes]
CONTENT = st.dictionaries(
    st.sampled_from(["a", "b.bin", "sub/c", "sub/deep/d"]),
    st.binary(max_size=40),
    min_size=1,
    max_size=4,
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 bytes, so that small files have several."""
    monkeypatch.setattr(layout, "PART_SIZE", 8)


def save(store: Any, content: SAVES, staging: Path, iteration: int, attempt: int = 1) -> Ledger:
    """Save and commit; raises what the upload raised."""
    ledger = Ledger()
    one = saver(store, ledger, staging, attempt=attempt)
    one.save(files(**content), at(iteration), {"value": iteration}, forced=True)
    one.wait()
    return ledger


def restore(store: Any, plan: list[CheckpointRef], staging: Path) -> tuple[CheckpointRef, SAVES]:
    with fetch(store, KEYS, tuple(plan), staging, quick_retry()) as restored:
        return restored.manifest.ref, read_files(restored.directory)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    store = MemoryStore()
    content = {"weights": b"0123456789abcdefXYZ", "sub/empty": b"", "exact": b"12345678"}
    ledger = save(store, content, tmp_path, 5)
    ref = CheckpointRef(1, 5)
    assert ledger.refs == [ref]
    assert restore(store, [ref], tmp_path) == (ref, content)
    assert list(tmp_path.iterdir()) == []
    manifest = Manifest.from_bytes(store.get(KEYS.manifest(ref)))
    assert manifest.metrics == {"value": 5}
    progress = Progress()
    progress.restore(manifest.progress)
    assert (progress.iteration, progress.time_total, progress.timesteps_total) == (5, 7.5, 7)


def test_the_manifest_carries_what_is_not_durable(tmp_path: Path) -> None:
    store, ledger = MemoryStore(), Ledger()
    ledger.results = (Result(3, {"value": float("nan")}),)
    one = saver(store, ledger, tmp_path)
    one.save(files(a=b"x"), at(1), {"value": 1}, forced=True)
    one.wait()
    manifest = Manifest.from_bytes(store.get(KEYS.manifest(CheckpointRef(1, 1))))
    assert [result.seq for result in manifest.results] == [3]
    assert manifest.results[0].metrics["value"] != manifest.results[0].metrics["value"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(CONTENT, CONTENT, st.lists(st.sampled_from(Fault), max_size=12))
def test_what_is_committed_is_whole_whatever_the_store_does(
    tmp_path: Path, older: SAVES, newer: SAVES, faults: list[Fault]
) -> None:
    store = MemoryStore()
    save(store, older, tmp_path, 5)
    save(FaultyStore(store, iter(faults)), newer, tmp_path, 10)
    plan = [CheckpointRef(1, 10), CheckpointRef(1, 5)]
    assert restore(FaultyStore(store, iter(faults)), plan, tmp_path) == (plan[0], newer)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(CONTENT, CONTENT, st.integers(0, 30))
def test_an_upload_that_stops_anywhere_is_never_loaded(
    tmp_path: Path, older: SAVES, newer: SAVES, requests: int
) -> None:
    store = MemoryStore()
    save(store, older, tmp_path, 5)

    def dies() -> Iterator[Fault]:
        yield from [Fault.NONE] * requests
        while True:
            yield Fault.LOST

    plan = [CheckpointRef(1, 10), CheckpointRef(1, 5)]
    try:
        save(FaultyStore(store, dies()), newer, tmp_path, 10)
    except Unusable:
        assert restore(store, plan, tmp_path) == (plan[1], older)
    else:
        assert restore(store, plan, tmp_path) == (plan[0], newer)
    assert list(tmp_path.iterdir()) == []


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(CONTENT, CONTENT, st.data())
def test_damage_is_never_loaded(
    tmp_path: Path, older: SAVES, newer: SAVES, data: st.DataObject
) -> None:
    store = MemoryStore()
    save(store, older, tmp_path, 5)
    before = set(store.objects)
    save(store, newer, tmp_path, 10)
    key = data.draw(st.sampled_from(sorted(set(store.objects) - before)))
    damage(store, key, data)
    plan = [CheckpointRef(1, 10), CheckpointRef(1, 5)]
    assert restore(store, plan, tmp_path) == (plan[1], older)


def damage(store: MemoryStore, key: str, data: st.DataObject) -> None:
    """Lose an object, cut it, lengthen it, or turn a bit of it."""
    content = store.objects[key]
    match data.draw(st.sampled_from(["lose", "cut", "lengthen", "flip"])):
        case "lose":
            del store.objects[key]
        case "cut":
            store.objects[key] = content[:-1]
        case "lengthen":
            store.objects[key] = content + b"x"
        case _:
            index = data.draw(st.integers(0, len(content) - 1))
            flipped = bytes([content[index] ^ (1 << data.draw(st.integers(0, 7)))])
            store.objects[key] = content[:index] + flipped + content[index + 1 :]


def test_no_valid_checkpoint_is_a_failure_and_never_scratch(tmp_path: Path) -> None:
    store = MemoryStore()
    save(store, {"a": b"content"}, tmp_path, 5)
    data_key = next(key for key in store.objects if "/d/" in key)
    store.objects[data_key] = b"CONTENT"
    plan = [CheckpointRef(2, 7), CheckpointRef(1, 5)]
    with pytest.raises(
        AttemptFailed, match="2-7: its manifest is gone; 1-5: a at byte 0"
    ) as caught:
        restore(store, plan, tmp_path)
    assert caught.value.reason == "NoValidCheckpoint"


def test_a_manifest_of_another_checkpoint_is_not_valid(tmp_path: Path) -> None:
    store = MemoryStore()
    save(store, {"a": b"x"}, tmp_path, 5)
    moved = KEYS.manifest(CheckpointRef(1, 6))
    store.objects[moved] = store.objects[KEYS.manifest(CheckpointRef(1, 5))]
    with pytest.raises(AttemptFailed, match="its manifest is that of 1-5"):
        restore(store, [CheckpointRef(1, 6)], tmp_path)


@pytest.mark.parametrize("part", ["/m/", "/d/"])
def test_a_store_that_denies_is_unusable_and_not_empty(tmp_path: Path, part: str) -> None:
    class Denying(MemoryStore):
        def get(self, key: str) -> bytes:
            if part in key:
                raise Unavailable("HTTP 403 AccessDenied")
            return super().get(key)

    store = Denying()
    save(store, {"a": b"content"}, tmp_path, 5)
    with pytest.raises(Unusable, match="403"):
        restore(store, [CheckpointRef(1, 5)], tmp_path)


class Gated(MemoryStore):
    """Data is stored when the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.reached = threading.Event()

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        self.reached.set()
        assert self.gate.wait(20)
        super().put(key, data, sha256)


def committed(store: MemoryStore) -> list[str]:
    return sorted(key.rpartition("/")[2] for key in store.objects if "/m/" in key)


def test_a_periodic_save_skips_a_busy_staging_and_a_forced_one_waits(tmp_path: Path) -> None:
    store, ledger = Gated(), Ledger()
    one, trainable = saver(store, ledger, tmp_path), files(a=b"x")
    one.save(trainable, at(1), {}, forced=False)
    one.save(trainable, at(2), {}, forced=False)
    assert (one.skipped, committed(store)) == (1, [])
    assert store.reached.wait(20)
    threading.Timer(0.05, store.gate.set).start()
    one.save(trainable, at(3), {}, forced=True)
    one.wait()
    assert ledger.refs == [CheckpointRef(1, 1), CheckpointRef(1, 3)]
    assert one.seconds > 0


def test_an_iteration_is_saved_once(tmp_path: Path) -> None:
    store, ledger = MemoryStore(), Ledger()
    one, trainable = saver(store, ledger, tmp_path), files(a=b"x")
    one.save(trainable, at(1), {}, forced=False)
    one.save(trainable, at(1), {}, forced=True)
    one.wait()
    one.save(trainable, at(1), {}, forced=True)
    one.wait()
    assert ledger.refs == [CheckpointRef(1, 1)]
    assert len([key for key in store.objects if "/d/" in key]) == 1


def test_nothing_is_saved_at_the_iteration_restored_from(tmp_path: Path) -> None:
    store, ledger = MemoryStore(), Ledger()
    one = saver(store, ledger, tmp_path, attempt=2)
    one.restored(5)
    one.save(files(a=b"x"), at(5), {}, forced=True)
    one.wait()
    assert store.objects == {}


def test_a_replaced_attempt_commits_nothing(tmp_path: Path) -> None:
    store, ledger = Gated(), Ledger()
    one = saver(store, ledger, tmp_path)
    one.save(files(a=b"x" * 100), at(1), {}, forced=True)
    assert store.reached.wait(20)
    ledger.fenced = True
    store.gate.set()
    with pytest.raises(Fenced):
        one.wait()
    assert committed(store) == []


def test_an_upload_s_error_reaches_the_training(tmp_path: Path) -> None:
    class Away(MemoryStore):
        def put(self, key: str, data: Data, sha256: str = "") -> None:
            raise Unavailable("no answer")

    one = saver(Away(), Ledger(), tmp_path)
    one.save(files(a=b"x"), at(1), {}, forced=False)
    with pytest.raises(Unusable, match="no answer"):
        one.wait()


def test_an_error_of_the_user_s_save_is_the_user_s(tmp_path: Path) -> None:
    class Broken(Files):
        def save_checkpoint(self, checkpoint_dir: str) -> None:
            raise RuntimeError("disk of dreams")

    one = saver(MemoryStore(), Ledger(), tmp_path)
    with pytest.raises(RuntimeError, match="disk of dreams"):
        one.save(Broken(), at(1), {}, forced=False)
    assert list(tmp_path.iterdir()) == []


def test_links_are_saved_as_what_they_point_at(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shared").write_bytes(b"shared")

    class Links(Files):
        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "link").symlink_to(elsewhere / "shared")
            Path(checkpoint_dir, "folder").symlink_to(elsewhere)

    store, staging = MemoryStore(), tmp_path / "staging"
    staging.mkdir()
    one = saver(store, Ledger(), staging)
    one.save(Links(), at(1), {}, forced=True)
    one.wait()
    expected = {"link": b"shared", "folder/shared": b"shared"}
    assert restore(store, [CheckpointRef(1, 1)], staging)[1] == expected
    assert (elsewhere / "shared").read_bytes() == b"shared"
