"""The journal of an open run, case by case: commits, displacement, retries."""

import itertools
import json

import pytest

from tune_operator.experiment import records
from tune_operator.experiment.claim import Claim, Displaced, Owner
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.opening import Opening
from tune_operator.experiment.segments import JournalUnreadable
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import RunKeys, SegmentRef

KEYS = RunKeys.of("team", "ns", "digits", "uid")
OWNER = Owner("cluster", "ns", "digits", "uid")
NONCES = (f"{number:016x}" for number in itertools.count(1))


class Status:
    """The object's status: the term, taken by compare-and-swap."""

    def __init__(self) -> None:
        self.term = 0

    async def take(self, term: int) -> None:
        self.term = term


def opening(nonce: str = "") -> Opening:
    return Opening(KEYS, OWNER, lambda: nonce or next(NONCES))


async def opened(store: ObjectStore, status: Status, nonce: str = "") -> Journal:
    return await opening(nonce).proceed(store, status.term, status.take)


def attempt(number: int) -> RunState:
    return RunState(trials=(TrialState("00000", attempt=number, open=True),))


async def commit(journal: Journal, store: ObjectStore, after: RunState) -> RunState:
    return await journal.commit(store, records.changes(journal.state, after))


def names(store: MemoryStore) -> list[str]:
    return [key.rpartition("/")[2] for key in sorted(store.objects)]


class TestOpening:
    async def test_the_first_one_takes_term_1_claims_and_says_that_nothing_was_before(self) -> None:
        store, status = MemoryStore(), Status()
        journal = await opened(store, status, "aa")
        assert (journal.state, journal.term, journal.claim) == (RunState(), 1, Claim(1, "aa"))
        assert journal.empty
        assert not journal.pending
        assert names(store) == ["00000001-aa-00000000.jsonl", "00000001-aa-00000001.jsonl"]
        claim, first = (json.loads(store.objects[key]) for key in sorted(store.objects))
        assert (claim["version"], claim["term"], claim["owner"]["uid"]) == (1, 1, "uid")
        assert first == {"type": "opened", "version": 1, "after": None}

    async def test_the_next_one_knows_what_was_committed(self) -> None:
        store, status = MemoryStore(), Status()
        await commit(await opened(store, status, "aa"), store, attempt(1))
        journal = await opened(store, status, "bb")
        assert (journal.state, journal.term, journal.empty) == (attempt(1), 2, False)
        first = json.loads(store.objects[KEYS.segment(SegmentRef(2, "bb", 1))])
        assert first["after"] == "00000001-aa-00000002"

    async def test_a_run_that_was_opened_and_never_written_is_empty(self) -> None:
        store, status = MemoryStore(), Status()
        await opened(store, status)
        assert (await opened(store, status)).empty

    @pytest.mark.parametrize(("known", "term"), [(3, 8), (9, 10)])
    async def test_a_term_is_above_every_trace_of_one(self, known: int, term: int) -> None:
        store, status = MemoryStore(), Status()
        status.term = 6
        await opened(store, status)
        status.term = known
        assert (await opened(store, status)).term == term
        assert status.term == term

    async def test_nothing_is_claimed_when_the_term_cannot_be_taken(self) -> None:
        store = MemoryStore()

        async def refuse(term: int) -> None:
            raise RuntimeError("409")

        with pytest.raises(RuntimeError):
            await opening().proceed(store, 0, refuse)
        assert not store.objects

    async def test_a_term_that_could_not_be_taken_is_not_used(self) -> None:
        store, mine, asked = MemoryStore(), opening(), []

        async def lose_once(term: int) -> None:
            asked.append(term)
            if len(asked) == 1:
                raise RuntimeError("409")

        with pytest.raises(RuntimeError):
            await mine.proceed(store, 0, lose_once)
        assert (await mine.proceed(store, 5, lose_once)).term == 6
        assert asked == [1, 6]


class TestForgery:
    """Whoever owns the bucket may write what he likes: no number of his is counted up to."""

    async def test_a_chain_that_names_a_far_segment_is_missing_its_first(self) -> None:
        store = MemoryStore()
        far = records.opened(SegmentRef(1, "aa", 99_999_999))
        store.objects[KEYS.segment(SegmentRef(2, "bb", 1))] = json.dumps(far).encode() + b"\n"
        with pytest.raises(JournalUnreadable, match=r"00000001-aa-00000001.*is missing"):
            await opened(store, Status())

    async def test_after_the_largest_term_there_is_none(self) -> None:
        store, status = MemoryStore(), Status()
        last = Claim(99_999_999, "ff")
        store.objects[KEYS.segment(last.segment(0))] = last.document(OWNER)
        with pytest.raises(JournalUnreadable, match="no higher term"):
            await opened(store, status)
        assert status.term == 0


class TestCommit:
    async def test_it_returns_the_run_as_it_is_from_now_on(self) -> None:
        store = MemoryStore()
        journal = await opened(store, Status())
        assert await commit(journal, store, attempt(1)) == attempt(1) == journal.state
        assert not journal.empty

    async def test_nothing_changed_is_nothing_written(self) -> None:
        store = MemoryStore()
        journal = await opened(store, Status())
        before = dict(store.objects)
        assert await journal.commit(store, []) == RunState()
        assert store.objects == before
        assert journal.empty

    async def test_records_that_no_reader_would_take_are_not_written(self) -> None:
        store = MemoryStore()
        journal = await opened(store, Status())
        before = dict(store.objects)
        with pytest.raises(ValueError, match="not known here"):
            await journal.commit(store, [{"type": "nonsense"}])
        assert store.objects == before
        assert not journal.pending

    async def test_more_than_a_segment_holds_becomes_several(self) -> None:
        store, status = MemoryStore(), Status()
        claim = (await opened(store, status, "aa")).claim
        journal = Journal(KEYS, claim, RunState(), empty=True, limit=200)
        journal.begin([records.opened(None)])
        after = RunState(trials=tuple(TrialState(f"{n:05d}") for n in range(9)))
        await journal.flush(store)
        assert await commit(journal, store, after) == after
        assert len(store.objects) > 5
        assert max(map(len, store.objects.values())) <= 200
        assert (await opened(store, status)).state == after


class TestDisplaced:
    @pytest.mark.parametrize("higher", [(1, "bb"), (2, "00")], ids=["nonce", "term"])
    async def test_a_higher_claim_ends_the_journal_at_its_next_commit(
        self, higher: tuple[int, str]
    ) -> None:
        store = MemoryStore()
        journal = await opened(store, Status(), "aa")
        store.objects[KEYS.segment(SegmentRef(*higher, 0))] = b""
        with pytest.raises(Displaced):
            await commit(journal, store, attempt(1))
        assert journal.state == RunState()

    @pytest.mark.parametrize("lower", [(1, "99"), (0, "ff")], ids=["nonce", "term"])
    async def test_a_lower_claim_that_lands_late_changes_nothing(
        self, lower: tuple[int, str]
    ) -> None:
        store = MemoryStore()
        journal = await opened(store, Status(), "aa")
        store.objects[KEYS.segment(SegmentRef(*lower, 0))] = b""
        await commit(journal, store, attempt(1))

    async def test_once_displaced_it_writes_nothing_more(self) -> None:
        store, status = MemoryStore(), Status()
        journal = await opened(store, status)
        await opened(store, status)
        with pytest.raises(Displaced):
            await journal.check(store)
        before = dict(store.objects)
        with pytest.raises(Displaced):
            await commit(journal, store, attempt(1))
        assert store.objects == before

    async def test_of_two_openings_of_one_term_the_lower_nonce_leaves(self) -> None:
        store, status = MemoryStore(), Status()
        await opened(store, status, "bb")
        store.objects = {k: v for k, v in store.objects.items() if k.endswith("0.jsonl")}
        low = opening("aa")
        low._claim = Claim(1, "aa")  # taken in a status that was restored since
        with pytest.raises(Displaced):
            await low.proceed(store, 1, status.take)

    async def test_a_higher_term_in_status_ends_an_opening(self) -> None:
        store, status = MemoryStore(), Status()
        await store.close()
        mine = opening()
        mine._claim = Claim(1, "aa")
        with pytest.raises(Displaced):
            await mine.proceed(store, 2, status.take)
