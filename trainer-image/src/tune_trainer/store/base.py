"""What a trainer asks of an object store, and how a store says no.

Keys are relative to one bucket. Nothing here retries: the caller knows for how long it makes sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

Data: TypeAlias = "bytes | bytearray | memoryview"
"""Bytes that are sent from where they lie."""


class StoreError(Exception):
    """A request the store did not carry out. Messages name endpoint and key, never credentials."""


class NotFound(StoreError):
    """There is no such object: it was never written, or it was deleted."""


class UploadLost(StoreError):
    """The store knows this multipart upload no more; its parts are gone."""


class Unavailable(StoreError):
    """No answer, a server error, or access denied: worth another try, and never "not found".

    Of a write it says nothing about whether the write happened.
    """


class Misconfigured(Unavailable):
    """What waiting rarely mends and another Pod may not meet: wrong keys or clock, no bucket."""


class KeysRefused(Misconfigured):
    """The store does not know our keys, or not any more; another Pod may have better ones."""


@dataclass(frozen=True)
class Extent:
    """How many bytes were read; ``total`` is the size of the whole object, or 0 where the store
    does not say it (for a range beyond the end)."""

    count: int
    total: int


class MultipartUpload(Protocol):
    """An object that is written in parts; it does not exist before ``complete``."""

    def put(self, number: int, data: Data, sha256: str = "") -> None:
        """Write one part (numbers from 1), again if need be; from any thread.

        Raises UploadLost.
        """

    def complete(self) -> None:
        """Make the object of all parts in the order of their numbers; again if need be.

        Raises UploadLost.
        """

    def abort(self) -> None:
        """Drop the parts: the object will never exist. At most seconds, also without an answer."""


class Store(Protocol):
    """One bucket. Every method raises Unavailable; those that read raise NotFound.

    ``sha256`` of data in hex, where the caller has it, lets the store refuse what was altered on
    the way.
    """

    def get(self, key: str) -> bytes:
        """A small object as a whole."""

    def read_into(self, key: str, start: int, buffer: memoryview) -> Extent:
        """Fill the buffer from an offset on; less where the object ends earlier.

        After an error the buffer holds anything.
        """

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        """Write an object as a whole."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; False when there is, or another write just won."""

    def multipart(self, key: str) -> MultipartUpload:
        """Begin an object of several parts of at least 5 MiB each (the last may be shorter)."""
