"""Every operation is reported once, with its ending."""

import pytest

from tests.unit.store.conformance import Conformance
from tune_operator.store.errors import NotFound, StoreError
from tune_operator.store.measured import MeasuredStore
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore


class TestConformance(Conformance):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MeasuredStore(MemoryStore(), lambda *_: None)


async def test_endings() -> None:
    seen: list[tuple[str, str | None]] = []

    def observe(operation: str, seconds: float, error: str | None) -> None:
        assert seconds >= 0
        seen.append((operation, error))

    store = MeasuredStore(MemoryStore(), observe)
    await store.put("k", b"")
    await store.put_if_absent("k", b"1")
    await store.list("")
    with pytest.raises(NotFound):
        await store.get("absent")
    await store.close()
    with pytest.raises(StoreError):
        await store.get("k")
    assert seen == [
        ("put", None),
        ("put_if_absent", None),
        ("list", None),
        ("get", None),
        ("get", "StoreError"),
    ]
