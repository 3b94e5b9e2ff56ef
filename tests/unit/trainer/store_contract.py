"""What every store must do. Run over each implementation: in memory, S3 over HTTP, real MinIO.

A test class that inherits from StoreContract gives a fixture ``store``; keys are its own.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tune_trainer.store.base import NotFound, Store, Unavailable, UploadLost

_numbers = count()
PART = 5 * 1024 * 1024


@pytest.fixture
def key() -> str:
    """A key nobody else uses, with characters that need quoting."""
    return f"contract/{os.getpid()}-{next(_numbers)}/a b+c=ü/file.bin"


class StoreContract:
    """Behaviour the checkpoint protocol rests on."""

    def test_reads_what_was_written(self, store: Store, key: str) -> None:
        store.put(key, b"one")
        assert store.get(key) == b"one"
        store.put(key, b"two")
        assert store.get(key) == b"two"

    def test_an_empty_object_is_an_object(self, store: Store, key: str) -> None:
        store.put(key, b"")
        assert store.get(key) == b""

    def test_a_missing_object_is_not_found(self, store: Store, key: str) -> None:
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(NotFound):
            read(store, key, 0, 10)

    def test_a_range_says_how_much_there_is(self, store: Store, key: str) -> None:
        store.put(key, b"0123456789")
        assert read(store, key, 3, 4) == (b"3456", 10)
        assert read(store, key, 8, 100) == (b"89", 10)
        beyond, total = read(store, key, 20, 5)
        assert beyond == b""
        assert total in {0, 10}  # MinIO does not say it here

    def test_the_first_conditional_write_wins(self, store: Store, key: str) -> None:
        assert store.put_if_absent(key, b"first")
        assert not store.put_if_absent(key, b"second")
        assert store.get(key) == b"first"

    def test_a_conditional_write_respects_a_plain_one(self, store: Store, key: str) -> None:
        store.put(key, b"plain")
        assert not store.put_if_absent(key, b"conditional")

    def test_parts_make_one_object(self, store: Store, key: str) -> None:
        first, second, last = os.urandom(PART), os.urandom(PART), b"end"
        upload = store.multipart(key)
        upload.put(3, last)
        upload.put(1, b"x" * PART)
        upload.put(1, first)  # again, after a lost answer
        upload.put(2, second)
        with pytest.raises(NotFound):
            store.get(key)
        upload.complete()
        assert store.get(key) == first + second + last
        assert read(store, key, 2 * PART, 100) == (last, 2 * PART + 3)

    def test_a_completion_may_be_repeated(self, store: Store, key: str) -> None:
        upload = store.multipart(key)
        upload.put(1, b"part")
        upload.complete()
        upload.complete()
        assert store.get(key) == b"part"

    def test_an_aborted_upload_never_becomes_an_object(self, store: Store, key: str) -> None:
        upload = store.multipart(key)
        upload.put(1, b"part")
        upload.abort()
        upload.abort()
        with pytest.raises(UploadLost):
            upload.put(1, b"again")
        with pytest.raises(UploadLost):
            upload.complete()
        with pytest.raises(NotFound):
            store.get(key)

    def test_data_are_sent_from_where_they_lie(self, store: Store, key: str) -> None:
        buffer = bytearray(b"..inside..")
        store.put(key, memoryview(buffer)[2:8])
        buffer[:] = bytes(10)
        assert store.get(key) == b"inside"

    def test_what_is_not_what_was_hashed_is_refused(self, store: Store, key: str) -> None:
        digest = hashlib.sha256(b"sent").hexdigest()
        store.put(key, b"sent", digest)
        with pytest.raises(Unavailable):
            store.put(key, b"come", digest)
        upload = store.multipart(key)
        with pytest.raises(Unavailable):
            upload.put(1, b"come", digest)
        upload.abort()
        assert store.get(key) == b"sent"

    def test_of_many_conditional_writers_at_once_one_wins(self, store: Store, key: str) -> None:
        offers = [f"writer {number}".encode() for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda data: store.put_if_absent(key, data), offers))
        assert [data for data, mine in zip(offers, won, strict=True) if mine] == [store.get(key)]


def read(store: Store, key: str, start: int, length: int) -> tuple[bytes, int]:
    """Bytes of an object from an offset on, and the size of the whole."""
    buffer = memoryview(bytearray(length))
    found = store.read_into(key, start, buffer)
    return bytes(buffer[: found.count]), found.total
