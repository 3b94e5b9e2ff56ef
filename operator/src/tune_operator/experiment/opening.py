"""Opening a run: become its one writer, and know what it was (DESIGN 9, Term).

The order is the protocol. Term in status, claim, LIST: whoever claims later sees our claim, and we
see every segment that was acknowledged before. Then our first segment, before anything is done
because of what was read: it says which segments of others count from now on, so that a PUT of an
older owner that lands late can never slip in behind what we have read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tune_operator.experiment import records
from tune_operator.experiment.chain import Reader
from tune_operator.experiment.claim import Claim, Displaced, Owner, RunPurged, check_document
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.segments import JournalUnreadable
from tune_operator.store.errors import NotFound
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import LARGEST_TERM, RunKeys, SegmentRef, parse_segment_key

TakeTerm = Callable[[int], Awaitable[None]]
"""Writes a term into the object's status by compare-and-swap; raises if it lost."""


class Opening:
    """One attempt to open a run, over as many calls of `proceed` as the store needs."""

    def __init__(self, keys: RunKeys, owner: Owner, new_nonce: Callable[[], str]) -> None:
        self._keys = keys
        self._owner = owner
        self._new_nonce = new_nonce
        self._reader = Reader(keys)
        self._claim: Claim | None = None
        self._landed = False
        self._journal: Journal | None = None

    async def proceed(self, store: ObjectStore, known_term: int, take_term: TakeTerm) -> Journal:
        """The open journal. ``known_term`` is the one in status.

        Safe to call again after StoreError, and after whatever ``take_term`` raises, until it
        returns. Raises Displaced, RunPurged, StoreError and JournalUnreadable; before our claim an
        unreadable journal, or one that is being deleted, is found without writing anything.
        """
        claim = self._claim or await self._take(store, take_term, known_term)
        if known_term > claim.term:
            raise Displaced(f"term {claim.term} of the run was overtaken in its status")
        if not self._landed:
            await store.put(self._keys.segment(claim.segment(0)), claim.document(self._owner))
            self._landed = True
        if self._journal is None:
            await self._read(store)
            self._journal = self._begin(claim)
        await self._journal.flush(store)
        return self._journal

    async def _take(self, store: ObjectStore, take_term: TakeTerm, known_term: int) -> Claim:
        """A term above every trace of one. Once taken it is ours until its claim landed."""
        listed = await self._read(store)
        if claims := [ref for ref in listed if ref.seq == 0]:
            key = self._keys.segment(max(claims))
            check_document(key, await store.get(key))
        claim = Claim(1 + max([known_term, *(ref.term for ref in listed)]), self._new_nonce())
        if claim.term > LARGEST_TERM:
            # Its segments would sort before, and not be found again.
            raise JournalUnreadable(self._keys.segment(max(listed)), "leaves no higher term")
        await take_term(claim.term)
        self._claim = claim
        return claim

    async def _read(self, store: ObjectStore) -> list[SegmentRef]:
        """Read the journal as it is now; a segment that went in between is looked for once more."""
        listed = await self._list(store)
        try:
            await self._reader.read(store, listed)
        except NotFound:
            listed = await self._list(store)
            await self._reader.read(store, listed)
        return listed

    async def _list(self, store: ObjectStore) -> list[SegmentRef]:
        keys = await store.list(self._keys.journal())
        if self._keys.purging() in keys:
            raise RunPurged
        listed = [ref for ref in map(parse_segment_key, keys) if ref is not None]
        if self._claim and any(Claim(ref.term, ref.nonce) > self._claim for ref in listed):
            raise Displaced(f"term {self._claim.term} of the run was overtaken")
        return listed

    def _begin(self, claim: Claim) -> Journal:
        journal = Journal(self._keys, claim, self._reader.state, empty=self._reader.empty)
        journal.begin([records.opened(self._reader.last)])
        return journal
