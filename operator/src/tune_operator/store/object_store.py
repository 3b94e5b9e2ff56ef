"""The interface all stores share; one conformance suite runs over every implementation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in a listing; ``size`` in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun and not completed: parts that cost, and no object."""

    key: str
    id: str


class ObjectStore(Protocol):
    """Whole small objects (at most OBJECT_LIMIT bytes) in one bucket.

    Every method raises StoreError: NotFound where said, AccessDenied, BucketMissing, Unreachable.
    None takes longer than a few seconds per page or object, whatever the server does.
    """

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises NotFound."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Writes the object, replacing what was there."""
        ...

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Writes the object unless there is one; True when the key now holds exactly `data`.

        So a retry of the same bytes after a lost answer is True, and of two writers with different
        bytes at most one is told True. On a server that ignores conditional writes the latter holds
        only for writers that do not overlap: use keys that belong to one writer.
        """
        ...

    async def list(self, prefix: str, after: str = "") -> list[str]:
        """All keys that start with `prefix` (a string, not a folder), sorted.

        With `after`, itself such a key, only those behind it: what came before costs nothing.
        """
        ...

    async def page(self, prefix: str, after: str = "") -> Sequence[Stored]:
        """The first objects that `list` would name, at most PAGE of them; none: there are no more.

        For what may be too much to be listed at once.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects, at most PAGE; one that is not there is no error.

        After an error some of them may be gone.
        """
        ...

    async def uploads(self, prefix: str) -> Sequence[Upload]:
        """Multipart uploads under way of keys that start with `prefix`, as far as the server says.

        Some servers tell them only to whom may list those of the whole bucket.
        """
        ...

    async def abort(self, upload: Upload) -> None:
        """Ends an upload and frees its parts; one that is over already is no error."""
        ...

    async def close(self) -> None:
        """Gives threads and connections back; later calls raise StoreError. May be called twice."""
        ...


PAGE = 1000
"""Objects of one page or one deletion, which is one request."""

OBJECT_LIMIT = 16 * 1024 * 1024
"""Bytes. What the operator reads and writes is far smaller; more is refused, since whoever names
the endpoint could otherwise fill the operator's memory."""

LIST_LIMIT = 100_000
"""Keys below one prefix, for the same reason."""
