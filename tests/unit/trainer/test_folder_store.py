"""A folder as the store: the same contract, and nothing torn by whoever is killed."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.trainer.operator_server import WAIT
from tests.unit.trainer.store_contract import StoreContract, key
from tune_trainer.store.base import NotFound, Store, Unavailable
from tune_trainer.store.folder import FolderStore

__all__ = ["key"]  # the contract's fixture


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "made when needed")


class TestFolderStore(StoreContract):
    @pytest.fixture
    def store(self, folder: FolderStore) -> Store:
        return folder


def test_of_many_conditional_writes_one_wins_as_a_whole(folder: FolderStore) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    start = threading.Barrier(len(contents))
    won: list[bytes] = []

    def write(data: bytes) -> None:
        start.wait()
        if folder.put_if_absent("m/1", data):
            won.append(data)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [folder.get("m/1")]
    assert folder.keys("m") == ["m/1"]


WRITES = """
import sys
from pathlib import Path
from tune_trainer.store.folder import FolderStore
store = FolderStore(Path(sys.argv[1]))
number = 0
while True:
    data = bytes([number % 256]) * 3_000_000
    store.put("run/plain", data)
    store.put_if_absent(f"run/once/{number}", data)
    upload = store.multipart("run/parts")
    upload.put(1, data)
    upload.put(2, data)
    upload.complete()
    number += 1
    print(number, flush=True)
"""


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_killed_writer_leaves_no_torn_object(tmp_path: Path, rounds: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(rounds):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WAIT)
    folder = FolderStore(tmp_path)
    folder.sweep("run")
    keys = folder.keys("run")
    assert {"run/plain", "run/parts", "run/once/0"} <= set(keys)
    for name in keys:
        data = folder.get(name)
        parts = 2 if name == "run/parts" else 1
        assert len(data) == parts * 3_000_000
        assert len(set(data[:3_000_000])) == 1
    assert [path.name for path in tmp_path.rglob(".*")] == []  # swept
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [
        tmp_path / name for name in keys
    ]


def test_what_is_being_written_is_not_listed_and_swept(folder: FolderStore) -> None:
    folder.put("t/.tune-hidden", b"the user's own name")
    upload = folder.multipart("t/d/big")
    upload.put(1, b"x")
    assert folder.keys("t") == ["t/.tune-hidden"]
    folder.sweep("t")
    assert folder.keys("t") == ["t/.tune-hidden"]


def test_a_completion_that_is_repeated_succeeds(folder: FolderStore) -> None:
    upload = folder.multipart("big")
    upload.put(1, b"x" * 10)
    upload.complete()
    upload.complete()
    assert folder.get("big") == b"x" * 10


def test_nothing_is_listed_where_nothing_is(folder: FolderStore) -> None:
    assert folder.keys("t/00000/m/") == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "a/../../b", "a//b", "./a", "a\0b"])
def test_a_key_cannot_leave_the_folder(folder: FolderStore, name: str) -> None:
    with pytest.raises(Unavailable, match="no key"):
        folder.put(name, b"x")
    with pytest.raises(Unavailable, match="no key"):
        folder.get(name)


def test_a_folder_is_no_object(folder: FolderStore) -> None:
    folder.put("a/b", b"x")
    for name in ("a", "a/b/c"):
        with pytest.raises(NotFound):
            folder.get(name)


def test_a_disk_that_does_not_take_it_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    store = FolderStore(tmp_path / "file")
    for write in (store.put, store.put_if_absent):
        with pytest.raises(Unavailable, match="a/b"):
            write("a/b", b"x")
    with pytest.raises(Unavailable, match="a/b"):
        store.multipart("a/b")
