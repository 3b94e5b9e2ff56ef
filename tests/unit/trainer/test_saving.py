"""Saving in bounded memory and few requests, and what a save that goes wrong leaves: nothing."""

import pickle
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.trainer.build import KEYS, Ledger, at, files, quick_retry, read_files, saver
from tests.unit.trainer.memory_store import MemoryStore
from tune_trainer import Trainable
from tune_trainer.checkpoint import layout
from tune_trainer.checkpoint.parallel import PARALLEL
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.errors import Fenced
from tune_trainer.failure import describe
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.store.base import Data
from tune_trainer.trainable import Trainable as Base

REF = CheckpointRef(1, 1)


class Dictionary(Trainable):
    """Its state is a dictionary."""

    state: dict[str, Any]

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return self.state

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.state = checkpoint


class Saving(Trainable):
    """Saves as a test says."""

    how: Callable[[Path], Any]

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return self.how(Path(checkpoint_dir))


def save(store: MemoryStore, trainable: Base, staging: Path, iteration: int = 1) -> None:
    one = saver(store, Ledger(), staging)
    one.save(trainable, at(iteration), {}, forced=True)
    one.wait()


def restored(store: MemoryStore, staging: Path) -> tuple[dict[str, bytes], set[str]]:
    """Files and directories that come back."""
    with fetch(store, KEYS, (REF,), staging, quick_retry()) as found:
        folders = {
            path.relative_to(found.directory).as_posix()
            for path in found.directory.rglob("*")
            if path.is_dir()
        }
        return read_files(found.directory), folders


def test_thousands_of_small_files_take_two_requests(tmp_path: Path) -> None:
    content = {f"{n % 50:02d}/{n:04d}.bin": n.to_bytes(4, "big") * 256 for n in range(2000)}
    content["large"] = bytes(layout.SMALL)
    store = MemoryStore()
    save(store, files(**content), tmp_path)
    assert sorted(key.rpartition("/")[2] for key in store.objects) == [
        "00001-0000000001.json", "large", "pack-00000",
    ]  # fmt: skip
    assert len(store.objects[KEYS.manifest(REF)]) < 2000
    assert restored(store, tmp_path)[0] == content


def with_an_empty_directory(folder: Path) -> None:
    (folder / "model").write_bytes(b"x")
    (folder / "assets" / "extra").mkdir(parents=True)


def test_empty_directories_come_back(tmp_path: Path) -> None:
    trainable = Saving()
    trainable.how = with_an_empty_directory
    store = MemoryStore()
    save(store, trainable, tmp_path)
    assert restored(store, tmp_path) == ({"model": b"x"}, {"assets", "assets/extra"})


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 3000], ids=["empty", "short", "longer"])
def test_a_pack_that_was_altered_is_not_loaded(tmp_path: Path, damage: bytes) -> None:
    content = {f"{n}": b"x" for n in range(100)}
    store = MemoryStore()
    save(store, files(**content), tmp_path)
    [pack] = [key for key in store.objects if key.endswith("pack-00000")]
    store.objects[pack] = damage
    with pytest.raises(Exception, match=r"NoValidCheckpoint.*pack-00000"):
        restored(store, tmp_path)


def test_memory_is_a_few_parts_however_large_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "PART_SIZE", 4096)

    class Watching(MemoryStore):
        buffers: dict[int, object] = {}  # noqa: RUF012 - of this one store

        def put(self, key: str, data: Data, sha256: str = "") -> None:
            if isinstance(data, memoryview):
                self.buffers[id(data.obj)] = data.obj
                assert len(memoryview(data.obj)) <= 4096
            super().put(key, data, sha256)

    store = Watching()
    content = {f"f{n}": bytes([n]) * 4000 for n in range(6)}
    one, trainable = saver(store, Ledger(), tmp_path), files(**content)
    for iteration in range(1, 6):
        one.save(trainable, at(iteration), {}, forced=True)
    one.wait()
    assert 0 < len(store.buffers) <= PARALLEL


def test_a_dictionary_is_written_over_the_file_of_the_last_one(tmp_path: Path) -> None:
    store, trainable = MemoryStore(), Dictionary()
    one = saver(store, Ledger(), tmp_path)
    inodes = set()
    for iteration, size in enumerate([3000, 500, 4000], 1):
        trainable.state = {"weights": np.full(size, iteration)}
        one.save(trainable, at(iteration), {}, forced=True)
        one.wait()
        inodes.add((tmp_path / "spare").stat().st_ino)
        [key] = [k for k in store.objects if f"-{iteration:010d}-" in k]
        loaded = pickle.loads(store.objects[key])  # noqa: S301 - written above
        assert np.array_equal(loaded["weights"], trainable.state["weights"])
    assert len(inodes) == 1


def test_a_replaced_attempt_leaves_no_parts_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "PART_SIZE", 8)
    began, gate = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def multipart(self, key: str) -> Any:
            upload = super().multipart(key)
            began.set()
            assert gate.wait(20)
            return upload

    store, ledger = Slow(), Ledger()
    one = saver(store, ledger, tmp_path)
    one.save(files(a=b"x" * 100), at(1), {}, forced=True)
    assert began.wait(20)
    ledger.fenced = True
    gate.set()
    with pytest.raises(Fenced):
        one.wait()
    assert (store.uploads, store.objects) == ({}, {})


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def full_disk(folder: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as device:
        device.write(b"x")


def raises(folder: Path) -> None:
    (folder / "half").write_bytes(b"x")
    raise KeyError("layer3")


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        pytest.param(lambda folder: None, ValueError, "wrote nothing", id="nothing"),
        pytest.param(removed, ValueError, "removed the directory", id="no directory"),
        pytest.param(full_disk, OSError, "No space left on device", id="full disk"),
        pytest.param(raises, KeyError, "layer3", id="raises"),
        pytest.param(lambda folder: {"f": lambda: 0}, Exception, "pickle", id="not picklable"),
        pytest.param(lambda folder: "../up", ValueError, "not inside", id="elsewhere"),
        pytest.param(lambda folder: 7, TypeError, "got int", id="a number"),
    ],
)
def test_a_save_that_goes_wrong_names_trial_and_call_and_leaves_the_checkpoint_before_it(
    tmp_path: Path, how: Callable[[Path], Any], error: type[Exception], says: str
) -> None:
    store = MemoryStore()
    save(store, files(a=b"before"), tmp_path)
    before = dict(store.objects)
    trainable = Saving()
    trainable.how = how
    with pytest.raises(error, match=says) as caught:
        save(store, trainable, tmp_path, iteration=2)
    assert "in save_checkpoint() of trial " in describe(caught.value)
    assert store.objects == before
    assert restored(store, tmp_path)[0] == {"a": b"before"}


@contextmanager
def disk_takes(size: int) -> Iterator[None]:
    """Files cannot grow beyond this: the kernel refuses, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_dictionary_that_does_not_fit_the_disk_is_an_error_and_no_checkpoint(
    tmp_path: Path,
) -> None:
    store, trainable = MemoryStore(), Dictionary()
    trainable.state = {"weights": np.zeros(100_000)}
    with disk_takes(10_000), pytest.raises(OSError, match="File too large"):
        save(store, trainable, tmp_path)
    assert store.objects == {}


def test_a_checkpoint_that_does_not_fit_the_disk_is_not_called_invalid(tmp_path: Path) -> None:
    store = MemoryStore()
    save(store, files(a=bytes(100_000)), tmp_path)
    with disk_takes(10_000), pytest.raises(OSError, match="File too large") as caught:
        restored(store, tmp_path)
    assert "while checkpoint 1-1 of trial 00003 was loaded" in describe(caught.value)
    assert list(tmp_path.glob("restore-*")) == []


def test_what_load_checkpoint_raises_names_the_checkpoint(tmp_path: Path) -> None:
    store = MemoryStore()
    save(store, files(a=b"x"), tmp_path)
    with (
        pytest.raises(KeyError, match="optimizer") as caught,
        fetch(store, KEYS, (REF,), tmp_path, quick_retry()),
    ):
        raise KeyError("optimizer")
    assert "while checkpoint 1-1 of trial 00003 was loaded" in describe(caught.value)
