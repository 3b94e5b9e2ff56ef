"""A store in memory with the semantics of the real one, for tests of whatever needs a store."""

from tune_operator.store.errors import NotFound, StoreError


class MemoryStore:
    """Objects in a dictionary. `objects` is public, so that a test can look and can damage."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
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

    async def close(self) -> None:
        """See ObjectStore.close."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise StoreError("the store was closed")
