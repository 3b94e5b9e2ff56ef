"""The interface all stores share; one conformance suite runs over every implementation."""

from typing import Protocol


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

    async def close(self) -> None:
        """Gives threads and connections back; later calls raise StoreError. May be called twice."""
        ...


OBJECT_LIMIT = 16 * 1024 * 1024
"""Bytes. What the operator reads and writes is far smaller; more is refused, since whoever names
the endpoint could otherwise fill the operator's memory."""

LIST_LIMIT = 100_000
"""Keys below one prefix, for the same reason."""
