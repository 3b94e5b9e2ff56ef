"""What a trainer asks of an object store, and how a store says no.

Keys are relative to one bucket. Nothing here retries: the caller knows for how long it makes sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """A request the store did not carry out. Messages name endpoint and key, never credentials."""


class NotFound(StoreError):
    """There is no such object: it was never written, or it was deleted."""


class Unavailable(StoreError):
    """No answer, a server error, or access denied: worth another try, and never "not found".

    Of a write it says nothing about whether the write happened.
    """


class KeysRefused(Unavailable):
    """The store does not know our keys, or not any more; another Pod may have better ones."""


@dataclass(frozen=True)
class Chunk:
    """Bytes of an object from some offset on; ``total`` is the size of the whole object, or 0
    where the store does not say it (for a range beyond the end)."""

    data: bytes
    total: int


class MultipartUpload(Protocol):
    """An object that is written in parts; it does not exist before ``complete``."""

    def put(self, number: int, data: bytes) -> None:
        """Write one part (numbers from 1), again if need be; from any thread."""

    def complete(self) -> None:
        """Make the object of all parts in the order of their numbers."""


class Store(Protocol):
    """One bucket. Every method raises Unavailable; those that read raise NotFound."""

    def get(self, key: str) -> bytes:
        """A small object as a whole."""

    def get_range(self, key: str, start: int, length: int) -> Chunk:
        """At most ``length`` bytes; fewer where the object ends earlier."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object as a whole."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; False when there is, or another write just won."""

    def multipart(self, key: str) -> MultipartUpload:
        """Begin an object of several parts of at least 5 MiB each (the last may be shorter)."""
