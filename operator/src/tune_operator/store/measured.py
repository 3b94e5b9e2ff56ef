"""A store that tells how long each operation took and how it ended; knows no metrics library."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tune_operator.store.errors import NotFound, StoreError
from tune_operator.store.object_store import ObjectStore, Stored, Upload

T = TypeVar("T")
Observe = Callable[[str, float, str | None], None]
"""Called with operation, seconds and the error's class name; None for success, as is NotFound."""


class MeasuredStore:
    """Passes everything on to `store` and reports it to `observe`."""

    def __init__(self, store: ObjectStore, observe: Observe) -> None:
        self._store = store
        self._observe = observe

    async def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        return await self._measure("get", self._store.get(key))

    async def put(self, key: str, data: bytes) -> None:
        """See ObjectStore.put."""
        await self._measure("put", self._store.put(key, data))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """See ObjectStore.put_if_absent."""
        return await self._measure("put_if_absent", self._store.put_if_absent(key, data))

    async def list(self, prefix: str, after: str = "") -> list[str]:
        """See ObjectStore.list."""
        return await self._measure("list", self._store.list(prefix, after))

    async def page(self, prefix: str, after: str = "") -> Sequence[Stored]:
        """See ObjectStore.page."""
        return await self._measure("page", self._store.page(prefix, after))

    async def delete(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete."""
        await self._measure("delete", self._store.delete(keys))

    async def uploads(self, prefix: str) -> Sequence[Upload]:
        """See ObjectStore.uploads."""
        return await self._measure("uploads", self._store.uploads(prefix))

    async def abort(self, upload: Upload) -> None:
        """See ObjectStore.abort."""
        await self._measure("abort", self._store.abort(upload))

    async def close(self) -> None:
        """See ObjectStore.close."""
        await self._store.close()

    async def _measure(self, operation: str, work: Awaitable[T]) -> T:
        started = time.monotonic()
        failure: str | None = None
        try:
            return await work
        except NotFound:
            raise
        except StoreError as error:
            failure = type(error).__name__
            raise
        finally:
            self._observe(operation, time.monotonic() - started, failure)
