"""The store in memory passes the suite all stores pass."""

import pytest

from tests.unit.store.conformance import Conformance
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore


class TestMemoryStore(Conformance):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryStore()
