"""Reading a journal: which segments count, and the run that they add up to.

Every opening begins with the record `opened`, which names the last segment of others that it read.
So the newest opening says where the readable part of each earlier one ends: what an older owner
wrote behind that was never acknowledged, and is no part of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from itertools import count, takewhile

from tune_operator.experiment import records
from tune_operator.experiment.records import BadRecord
from tune_operator.experiment.segments import JournalUnreadable, unpack
from tune_operator.lifecycle.trial_state import RunState
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import RunKeys, SegmentRef

PARALLEL = 4
"""Segments read at once: as many as a store has threads, and few enough to hold in memory."""


class Reader:
    """Reads one run's journal. Called again, it goes on where it was."""

    def __init__(self, keys: RunKeys) -> None:
        self.keys = keys
        self.state = RunState()
        self.empty = True
        self._done: list[SegmentRef] = []
        self._opened_after: dict[SegmentRef, SegmentRef | None] = {}

    @property
    def last(self) -> SegmentRef | None:
        """The last segment that was read."""
        return self._done[-1] if self._done else None

    async def read(self, store: ObjectStore, listed: Collection[SegmentRef]) -> None:
        """Bring ``state`` to the end of the chain in what was listed.

        Raises JournalUnreadable and StoreError; what was read before that is not read again.
        """
        chain = await self._chain(store, frozenset(listed))
        if chain[: len(self._done)] != self._done:
            self.state, self.empty, self._done = RunState(), True, []
        while todo := chain[len(self._done) :][:PARALLEL]:
            bodies = await asyncio.gather(*(store.get(self.keys.segment(ref)) for ref in todo))
            for ref, body in zip(todo, bodies, strict=True):
                self._take(ref, body)

    def _take(self, ref: SegmentRef, body: bytes) -> None:
        key = self.keys.segment(ref)
        found = unpack(key, body)
        try:
            self.state = records.fold_all(self.state, found)
        except BadRecord as error:
            raise JournalUnreadable(key, str(error)) from None
        self.empty = self.empty and all(record["type"] == "opened" for record in found)
        self._done.append(ref)

    async def _chain(self, store: ObjectStore, present: Collection[SegmentRef]) -> list[SegmentRef]:
        """The segments that count, from the first of all to the last."""
        first = max((ref for ref in present if ref.seq == 1), default=None)
        if first is None:
            return []
        # A gap ends the newest opening: nothing is written behind what has not landed.
        chain = list(takewhile(present.__contains__, (first.numbered(seq) for seq in count(1))))
        while (last := await self._after(store, first)) is not None:
            earlier = list(takewhile(present.__contains__, _up_to(last)))
            # Whoever writes into the bucket may name any number: only what is there is counted.
            if len(earlier) < last.seq:
                raise JournalUnreadable(
                    self.keys.segment(last.numbered(len(earlier) + 1)), "is missing"
                )
            if not earlier or last >= first:
                raise JournalUnreadable(self.keys.segment(first), f"cannot follow {last}")
            first, chain = earlier[0], earlier + chain
        return chain

    async def _after(self, store: ObjectStore, first: SegmentRef) -> SegmentRef | None:
        if first not in self._opened_after:
            key = self.keys.segment(first)
            found = unpack(key, await store.get(key))
            try:
                self._opened_after[first] = records.opened_after(found[0])
            except BadRecord as error:
                raise JournalUnreadable(key, str(error)) from None
        return self._opened_after[first]


def _up_to(last: SegmentRef) -> Iterator[SegmentRef]:
    return (last.numbered(seq) for seq in range(1, last.seq + 1))
