"""A store in memory with the semantics of the real one, for tests of whatever needs a store."""

from collections.abc import Sequence

from tune_operator.store.errors import NotFound, StoreError
from tune_operator.store.object_store import PAGE, Stored, Upload


class MemoryStore:
    """Objects in a dictionary. `objects` and `begun`, the uploads under way, are public, so that a
    test can look and can damage."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.begun: set[Upload] = set()
        self._closed = False

    async def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        self._check()
        try:
            return self.objects[key]
        except KeyError:
            raise NotFound(f"{key}: no such object") from None

    async def put(self, key: str, data: bytes) -> None:
        """See ObjectStore.put."""
        self._check()
        self.objects[key] = bytes(data)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """See ObjectStore.put_if_absent."""
        self._check()
        return self.objects.setdefault(key, bytes(data)) == data

    async def list(self, prefix: str, after: str = "") -> list[str]:
        """See ObjectStore.list."""
        self._check()
        return sorted(key for key in self.objects if key.startswith(prefix) and key > after)

    async def page(self, prefix: str, after: str = "") -> Sequence[Stored]:
        """See ObjectStore.page."""
        found = await self.list(prefix, after)
        return [Stored(key, len(self.objects[key])) for key in found[:PAGE]]

    async def delete(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete."""
        self._check()
        for key in keys:
            self.objects.pop(key, None)

    async def uploads(self, prefix: str) -> Sequence[Upload]:
        """See ObjectStore.uploads."""
        self._check()
        begun = [upload for upload in self.begun if upload.key.startswith(prefix)]
        return sorted(begun, key=lambda upload: (upload.key, upload.id))

    async def abort(self, upload: Upload) -> None:
        """See ObjectStore.abort."""
        self._check()
        self.begun.discard(upload)

    async def close(self) -> None:
        """See ObjectStore.close."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise StoreError("the store was closed")
