"""The journal under faults of the store, case by case: retries, late writes, gaps, damage."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.faulty_store import Fault, FaultyStore, once
from tests.unit.experiment.test_journal import KEYS, Status, attempt, commit, opened, opening
from tune_operator.experiment.claim import Displaced
from tune_operator.experiment.segments import JournalUnreadable
from tune_operator.lifecycle.trial_state import RunState
from tune_operator.store.errors import StoreError, Unreachable
from tune_operator.store.memory import MemoryStore
from tune_trainer.protocol.keys import SegmentRef

FAULTS = [Fault.LOST, Fault.UNHEARD, Fault.LATE, Fault.REFUSED]


def key(term: int, nonce: str, seq: int) -> str:
    return KEYS.segment(SegmentRef(term, nonce, seq))


def faulty() -> FaultyStore:
    return FaultyStore(MemoryStore())


def keys(store: FaultyStore) -> list[str]:
    """What lies in the store, looked at without its faults."""
    assert isinstance(store.store, MemoryStore)
    return sorted(store.store.objects)


class TestCommit:
    @pytest.mark.parametrize("operation", ["put", "list"])
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_after_any_fault_the_same_bytes_go_to_the_same_key(
        self, operation: str, fault: Fault
    ) -> None:
        store, status = faulty(), Status()
        journal = await opened(store, status, "aa")
        store.script = once(operation, fault)
        with pytest.raises(StoreError):
            await commit(journal, store, attempt(1))
        # Nothing may be based on what is not acknowledged.
        assert (journal.pending, journal.state) == (True, RunState())
        await journal.flush(store)
        assert (journal.pending, journal.state) == (False, attempt(1))
        await store.land()
        assert (await opened(store, status)).state == attempt(1)
        assert [each for each in keys(store) if "-aa-" in each] == [
            key(1, "aa", seq) for seq in (0, 1, 2)
        ]

    async def test_later_records_wait_for_the_pending_ones(self) -> None:
        store = faulty()
        journal = await opened(store, Status())
        store.script = once("put", Fault.LOST)
        with pytest.raises(Unreachable):
            await commit(journal, store, attempt(1))
        with pytest.raises(RuntimeError, match="pending"):
            await commit(journal, store, attempt(1))

    async def test_whether_others_claimed_is_asked_behind_the_own_segment_only(self) -> None:
        store = faulty()
        journal = await opened(store, Status())
        for number in range(1, 4):
            await commit(journal, store, attempt(number))
        asked: list[int] = []
        store.script = lambda operation: asked.append(1) if operation.name == "list" else None
        await commit(journal, store, attempt(9))
        assert len(asked) == 1
        assert [each.name for each in store.history[-2:]] == ["put", "list"]

    @pytest.mark.parametrize("operation", ["put", "list"])
    async def test_who_is_overtaken_in_the_middle_of_a_commit_is_told(self, operation: str) -> None:
        """Before its PUT landed the other cannot have seen it; before its LIST it might."""
        store, status = faulty(), Status()
        old = await opened(store, status)
        store.script = once(operation, Fault.HANG)
        commits = asyncio.ensure_future(commit(old, store, attempt(1)))
        await asyncio.sleep(0)
        new = await opened(store, status)
        store.waiting[0].go()
        with pytest.raises(Displaced):
            await commits
        assert (await opened(store, status)).state == new.state

    async def test_a_segment_that_lands_while_another_claims_is_not_acknowledged(self) -> None:
        store, status = faulty(), Status()
        old = await opened(store, status)
        store.script = once("put", Fault.UNHEARD)
        with pytest.raises(Unreachable):
            await commit(old, store, attempt(1))
        new = await opened(store, status)
        assert new.state == attempt(1)  # it landed before the claim, and so it counts
        with pytest.raises(Displaced):
            await old.flush(store)
        assert old.state == RunState()


class TestLateWrites:
    async def test_a_segment_of_an_older_owner_that_lands_late_never_counts(self) -> None:
        store, status = faulty(), Status()
        old = await opened(store, status)
        await commit(old, store, attempt(1))
        store.script = once("put", Fault.LATE)
        with pytest.raises(Unreachable):
            await commit(old, store, attempt(666))
        new = await opened(store, status)
        await store.land()
        assert (await opened(store, status)).state == attempt(1)
        assert new.state == attempt(1)

    async def test_nor_when_the_next_owner_did_nothing_but_read(self) -> None:
        """What it read may have been acted on: its first segment fixes what that was."""
        store, status = faulty(), Status()
        old = await opened(store, status)
        store.script = once("put", Fault.LATE)
        with pytest.raises(Unreachable):
            await commit(old, store, attempt(666))
        assert (await opened(store, status)).state == RunState()
        await store.land()
        assert (await opened(store, status)).state == RunState()

    async def test_a_first_segment_that_lands_late_does_not_undo_what_was_read_since(self) -> None:
        store, status = faulty(), Status()
        first = await opened(store, status)
        store.script = once("put", Fault.LATE, part="-00000001.jsonl")
        with pytest.raises(Unreachable):
            await opened(store, status)  # claimed, and read that nothing was committed
        with pytest.raises(Displaced):
            await commit(first, store, attempt(1))
        third = await opened(store, status)
        assert third.state == attempt(1)  # never acknowledged, but read now
        await store.land()
        assert (await opened(store, status)).state == attempt(1)


class TestOpening:
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("number", range(6))
    async def test_it_goes_on_where_it_was_after_any_fault(self, number: int, fault: Fault) -> None:
        store, status = faulty(), Status()
        await commit(await opened(store, status, "aa"), store, attempt(1))
        left = number

        def script(_: object) -> Fault | None:
            nonlocal left
            left -= 1
            return fault if left == -1 else None

        store.script, mine = script, opening("bb")
        with pytest.raises(StoreError):
            await mine.proceed(store, status.term, status.take)
        journal = await mine.proceed(store, status.term, status.take)
        assert (journal.state, journal.term) == (attempt(1), 2)
        assert [each for each in keys(store) if "-bb-" in each] == [
            key(2, "bb", 0),
            key(2, "bb", 1),
        ]

    async def test_a_term_that_was_taken_is_kept_until_its_claim_landed(self) -> None:
        store, status = faulty(), Status()
        store.script, mine = once("put", Fault.LOST), opening()
        with pytest.raises(Unreachable):
            await mine.proceed(store, status.term, status.take)
        assert (await mine.proceed(store, status.term, status.take)).term == status.term == 1

    async def test_a_segment_that_goes_in_between_is_looked_for_once_more(self) -> None:
        store, status = faulty(), Status()
        await commit(await opened(store, status, "aa"), store, attempt(1))
        inner = store.store
        assert isinstance(inner, MemoryStore)
        gone = inner.objects.pop(key(1, "aa", 2))
        inner.objects[key(1, "aa", 2)] = gone

        def vanish(operation: object) -> None:
            if store.history[-1].name == "get":
                inner.objects.pop(key(1, "aa", 2), None)

        store.script = vanish
        assert (await opened(store, status)).state == RunState()

    async def test_a_gap_ends_the_journal(self) -> None:
        store, status = MemoryStore(), Status()
        journal = await opened(store, status, "aa")
        for number in (1, 2, 3):
            await commit(journal, store, attempt(number))
        del store.objects[key(1, "aa", 3)]
        assert (await opened(store, status)).state == attempt(1)

    async def test_foreign_objects_are_ignored(self) -> None:
        store, status = MemoryStore(), Status()
        await commit(await opened(store, status), store, attempt(1))
        store.objects[KEYS.journal() + "README.txt"] = b"hello"
        store.objects[KEYS.journal() + "zz"] = b"hello"
        journal = await opened(store, status)
        assert await commit(journal, store, attempt(2)) == attempt(2)


def newer(body: bytes) -> bytes:
    return json.dumps({**json.loads(body), "version": 2}).encode() + b"\n"


UNREADABLE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "empty": (key(1, "aa", 2), lambda body: b""),
    "cut": (key(1, "aa", 2), lambda body: body[:-1]),
    "no JSON": (key(1, "aa", 2), lambda body: b"\xff\n"),
    "a blank line": (key(1, "aa", 2), lambda body: body + b"\n"),
    "NaN": (key(1, "aa", 2), lambda body: b'{"type": NaN}\n'),
    "no object": (key(1, "aa", 2), lambda body: b"[]\n"),
    "deep": (key(1, "aa", 2), lambda body: b"[" * 100_000 + b"\n"),
    "unknown type": (key(1, "aa", 2), lambda body: b'{"type": "decision"}\n'),
    "newer": (key(1, "aa", 1), newer),
    "newer claim": (key(1, "aa", 0), newer),
    "no beginning": (key(1, "aa", 1), lambda body: b'{"type": "run"}\n'),
    "a circle": (
        key(1, "aa", 1),
        lambda body: b'{"type":"opened","version":1,"after":"00000001-aa-00000002"}\n',
    ),
    "after a claim": (
        key(1, "aa", 1),
        lambda body: b'{"type":"opened","version":1,"after":"00000000-aa-00000000"}\n',
    ),
    "absent": (
        key(0, "aa", 1),
        lambda body: body,
    ),
}


class TestUnreadable:
    @pytest.mark.parametrize("damage", UNREADABLE)
    async def test_the_key_is_named_and_nothing_is_written(self, damage: str) -> None:
        store, status = MemoryStore(), Status()
        await commit(await opened(store, status, "aa"), store, attempt(1))
        where, change = UNREADABLE[damage]
        if damage == "absent":
            store.objects[key(1, "aa", 1)] = (
                b'{"type":"opened","version":1,"after":"00000000-aa-00000001"}\n'
            )
        else:
            store.objects[where] = change(store.objects[where])
        before = dict(store.objects)
        with pytest.raises(JournalUnreadable) as caught:
            await opened(store, status)
        assert (caught.value.key, status.term) == (where, 1)
        assert where in caught.value.message
        assert store.objects == before
