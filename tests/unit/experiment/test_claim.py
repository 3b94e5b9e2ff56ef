"""The claim: one writer per run, by terms that only grow."""

import json

import pytest

from tune_operator.experiment.claim import Claim, Displaced, Owner, next_term, open_run
from tune_operator.store.errors import StoreError
from tune_operator.store.memory import MemoryStore
from tune_trainer.protocol.keys import RunKeys

KEYS = RunKeys.of("team", "ns", "digits", "uid")
OWNER = Owner("cluster", "ns", "digits", "uid")


class Status:
    """Where the term is taken by compare-and-swap."""

    def __init__(self) -> None:
        self.terms: list[int] = []

    async def take(self, term: int) -> None:
        self.terms.append(term)


async def test_the_first_opening_takes_term_1_in_status_before_the_store() -> None:
    store, status = MemoryStore(), Status()
    assert await next_term(store, KEYS, 0) == 1
    await open_run(store, KEYS, OWNER, Claim(1, "aa"), status.take)
    assert status.terms == [1]
    (key,) = await store.list("")
    assert key == "team/ns/digits/uid/experiment/j/00000001-aa-00000000.jsonl"
    claim = json.loads(await store.get(key))
    assert (claim["term"], claim["owner"]["uid"], claim["version"]) == (1, "uid", 1)


async def test_a_term_is_above_every_trace_in_status_and_store() -> None:
    store, status = MemoryStore(), Status()
    await open_run(store, KEYS, OWNER, Claim(7, "aa"), status.take)
    assert await next_term(store, KEYS, 3) == 8
    assert await next_term(store, KEYS, 9) == 10


async def test_opening_again_with_the_same_claim_is_the_same_opening() -> None:
    store, status = MemoryStore(), Status()
    for _ in range(2):
        await open_run(store, KEYS, OWNER, Claim(1, "aa"), status.take)
    assert len(await store.list("")) == 1


@pytest.mark.parametrize("other", [Claim(2, "aa"), Claim(1, "ff")], ids=["term", "nonce"])
async def test_a_higher_claim_displaces(other: Claim) -> None:
    store, status = MemoryStore(), Status()
    await open_run(store, KEYS, OWNER, other, status.take)
    with pytest.raises(Displaced):
        await open_run(store, KEYS, OWNER, Claim(1, "aa"), status.take)


async def test_nothing_is_claimed_when_the_term_cannot_be_taken() -> None:
    store = MemoryStore()

    async def refuse(term: int) -> None:
        raise RuntimeError("409")

    with pytest.raises(RuntimeError):
        await open_run(store, KEYS, OWNER, Claim(1, "aa"), refuse)
    assert not await store.list("")


async def test_a_closed_store_is_an_error_and_no_claim() -> None:
    store, status = MemoryStore(), Status()
    await store.close()
    with pytest.raises(StoreError):
        await next_term(store, KEYS, 0)
    assert status.terms == []
