"""What every store must do. Run over each implementation: in memory, S3 over HTTP, real MinIO.

A test class that inherits from StoreContract gives a fixture ``store``; keys are its own.
"""

import os
from itertools import count

import pytest

from tune_trainer.store.base import NotFound, Store

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
            store.get_range(key, 0, 10)

    def test_a_range_says_how_much_there_is(self, store: Store, key: str) -> None:
        store.put(key, b"0123456789")
        middle = store.get_range(key, 3, 4)
        assert (middle.data, middle.total) == (b"3456", 10)
        end = store.get_range(key, 8, 100)
        assert (end.data, end.total) == (b"89", 10)
        beyond = store.get_range(key, 20, 5)
        assert beyond.data == b""
        assert beyond.total in {0, 10}  # MinIO does not say it here

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
        chunk = store.get_range(key, 2 * PART, 100)
        assert (chunk.data, chunk.total) == (last, 2 * PART + 3)
