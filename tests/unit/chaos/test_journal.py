"""The independent reader of the journal: what counts, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chaos import journal
from tune_operator.store.memory import MemoryStore

PREFIX = "run/experiment/j/"


async def written(**segments: list[dict[str, Any]]) -> MemoryStore:
    """Segments by `<term>_<nonce>_<seq>`, with the claim of each opening."""
    store = MemoryStore()
    for name, records in segments.items():
        term, nonce, seq = name[1:].split("_")
        data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        await store.put(key(int(term), nonce, int(seq)), data)
        await store.put(key(int(term), nonce, 0), b"{}")
    return store


def key(term: int, nonce: str, seq: int) -> str:
    return f"{PREFIX}{ref(term, nonce, seq)}.jsonl"


def ref(term: int, nonce: str, seq: int) -> str:
    return f"{term:08d}-{nonce}-{seq:08d}"


def opened(after: str | None) -> dict[str, Any]:
    return {"type": "opened", "after": after}


def run(number: int) -> dict[str, Any]:
    return {"type": "run", "number": number}


async def numbers(store: MemoryStore) -> list[int]:
    records = await journal.read(store, PREFIX)
    return [record["number"] for record in records if record["type"] == "run"]


async def test_nothing_was_written() -> None:
    assert await journal.read(MemoryStore(), PREFIX) == []


async def test_openings_follow_each_other() -> None:
    store = await written(
        _1_a_1=[opened(None), run(1)],
        _1_a_2=[run(2)],
        _2_b_1=[opened(ref(1, "a", 2)), run(3)],
    )
    assert await numbers(store) == [1, 2, 3]


async def test_what_was_written_behind_a_later_opening_does_not_count() -> None:
    store = await written(
        _1_a_1=[opened(None), run(1)],
        _1_a_2=[run(9)],
        _2_b_1=[opened(ref(1, "a", 1)), run(2)],
    )
    assert await numbers(store) == [1, 2]


async def test_an_opening_that_only_claimed_is_passed_over() -> None:
    store = await written(_1_a_1=[opened(None), run(1)])
    await store.put(key(2, "b", 0), b"{}")
    assert await numbers(store) == [1]


async def test_a_gap_ends_the_newest_opening() -> None:
    store = await written(_1_a_1=[opened(None), run(1)], _1_a_3=[run(3)])
    assert await numbers(store) == [1]


async def test_a_gap_below_a_later_opening_is_a_loss() -> None:
    store = await written(_1_a_1=[opened(None)], _1_a_3=[run(3)], _2_b_1=[opened(ref(1, "a", 3))])
    with pytest.raises(journal.Broken, match="missing"):
        await journal.read(store, PREFIX)


async def test_an_opening_that_does_not_say_what_it_follows_is_broken() -> None:
    store = await written(_1_a_1=[run(1)])
    with pytest.raises(journal.Broken, match="follows"):
        await journal.read(store, PREFIX)
