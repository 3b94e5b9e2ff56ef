"""The commit point under every fault of a store: one writer owns a checkpoint, and knows it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.trainer.build import KEYS, manifest, quick_retry
from tests.unit.trainer.faults import Fault, FaultyStore
from tests.unit.trainer.memory_store import MemoryStore
from tune_trainer.checkpoint.commit import commit
from tune_trainer.errors import Fenced, Unusable
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.store.base import Unavailable

REF = CheckpointRef(1, 5)
KEY = KEYS.manifest(REF)
FAULTS = st.lists(st.sampled_from(Fault), max_size=8)


def nonce_in(store: MemoryStore) -> str:
    return Manifest.from_bytes(store.get(KEY)).nonce


@given(FAULTS)
def test_a_commit_succeeds_whatever_answers_are_lost(faults: list[Fault]) -> None:
    store = MemoryStore()
    commit(FaultyStore(store, iter(faults)), KEY, manifest(REF, "aa"), quick_retry())
    assert nonce_in(store) == "aa"


@given(FAULTS, FAULTS, st.booleans())
def test_of_two_writers_at_most_one_believes_it_committed(
    first_faults: list[Fault], second_faults: list[Fault], first_begins: bool
) -> None:
    store = MemoryStore()
    writers = {"aa": iter(first_faults), "bb": iter(second_faults)}
    committed = []
    for nonce in writers if first_begins else reversed(writers):
        try:
            commit(FaultyStore(store, writers[nonce]), KEY, manifest(REF, nonce), quick_retry())
            committed.append(nonce)
        except Fenced:
            assert nonce_in(store) != nonce
    assert committed == [nonce_in(store)]


def test_another_s_manifest_fences() -> None:
    store = MemoryStore()
    commit(store, KEY, manifest(REF, "aa"), quick_retry())
    with pytest.raises(Fenced, match="another process"):
        commit(store, KEY, manifest(REF, "bb"), quick_retry())


def test_foreign_bytes_at_the_key_fence() -> None:
    store = MemoryStore()
    store.put(KEY, b"{}")
    with pytest.raises(Fenced, match="not as we do"):
        commit(store, KEY, manifest(REF, "aa"), quick_retry())


def test_a_store_that_stays_away_is_unusable() -> None:
    class Away(MemoryStore):
        def put_if_absent(self, key: str, data: bytes) -> bool:
            raise Unavailable("HTTP 403 AccessDenied")

    with pytest.raises(Unusable, match="gave up after 100 s: HTTP 403 AccessDenied"):
        commit(Away(), KEY, manifest(REF, "aa"), quick_retry())


def test_the_waits_between_tries_grow() -> None:
    waits: list[float] = []
    retry = quick_retry()
    wait: Callable[[float], object] = retry.wait

    def recorded(seconds: float) -> None:
        waits.append(seconds)
        wait(seconds)

    object.__setattr__(retry, "wait", recorded)
    faults = iter([Fault.LOST] * 20)
    commit(FaultyStore(MemoryStore(), faults), KEY, manifest(REF, "aa"), retry)
    assert len(waits) == 10  # a write and its read-back failed each time
    assert 0.1 <= waits[0] <= 0.2
    assert 5 <= waits[-1] <= 10
