"""The store in memory passes the suite all stores pass."""

import pytest

from tests.unit.store.conformance import Conformance, begin_in_memory
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore, Upload


class TestMemoryStore(Conformance):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryStore()

    async def begin(self, store: ObjectStore, key: str) -> Upload:
        return begin_in_memory(store, key)
