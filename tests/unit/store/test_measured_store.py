"""Every operation is reported once, with its ending."""

import pytest

from tests.unit.store.conformance import Conformance, begin_in_memory
from tune_operator.store.errors import NotFound, StoreError
from tune_operator.store.measured import MeasuredStore
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore, Upload


class TestConformance(Conformance):
    @pytest.fixture
    def store(self) -> ObjectStore:
        self.inner = MemoryStore()
        return MeasuredStore(self.inner, lambda *_: None)

    async def begin(self, store: ObjectStore, key: str) -> Upload:
        return begin_in_memory(self.inner, key)


async def test_endings() -> None:
    seen: list[tuple[str, str | None]] = []

    def observe(operation: str, seconds: float, error: str | None) -> None:
        assert seconds >= 0
        seen.append((operation, error))

    store = MeasuredStore(MemoryStore(), observe)
    await store.put("k", b"")
    await store.put_if_absent("k", b"1")
    await store.list("")
    await store.page("")
    await store.delete(["absent"])
    for upload in await store.uploads(""):
        await store.abort(upload)
    with pytest.raises(NotFound):
        await store.get("absent")
    await store.close()
    with pytest.raises(StoreError):
        await store.get("k")
    assert seen == [
        ("put", None),
        ("put_if_absent", None),
        ("list", None),
        ("page", None),
        ("delete", None),
        ("uploads", None),
        ("get", None),
        ("get", "StoreError"),
    ]
