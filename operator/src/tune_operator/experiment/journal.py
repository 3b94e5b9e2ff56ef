"""The journal of an open run: what was committed here is what the run is (DESIGN 9).

A commit is a segment that landed while nobody had claimed the run after us. Whoever claims it lists
the segments after its claim landed, and so sees every segment that was ever acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tune_operator.experiment import records
from tune_operator.experiment.claim import Claim, Displaced
from tune_operator.experiment.records import Record
from tune_operator.experiment.segments import pack
from tune_operator.lifecycle.trial_state import RunState
from tune_operator.store.object_store import OBJECT_LIMIT, ObjectStore
from tune_trainer.protocol.keys import RunKeys, SegmentRef, parse_segment_key


class Journal:
    """One opening of a run, from its first segment on.

    ``state`` is the run as of the last commit. ``empty``: nothing was ever recorded of it. The
    store is an argument of every call, because clients are replaced when keys are rotated.
    """

    def __init__(
        self,
        keys: RunKeys,
        claim: Claim,
        state: RunState,
        *,
        empty: bool,
        limit: int = OBJECT_LIMIT,
    ) -> None:
        self.keys = keys
        self.claim = claim
        self.state = state
        self.empty = empty
        self._limit = limit
        self._next = (state, empty)
        self._seq = 0
        self._pending: deque[tuple[SegmentRef, bytes]] = deque()
        self._displaced = False

    @property
    def term(self) -> int:
        """The term of this opening."""
        return self.claim.term

    @property
    def pending(self) -> bool:
        """Whether a commit was begun and not acknowledged: nothing may be based on it yet."""
        return bool(self._pending)

    async def commit(self, store: ObjectStore, changed: Sequence[Record]) -> RunState:
        """Write the records and return the run they make. Nothing is written for no records.

        After StoreError they stay pending: `flush` until it returns, then look again. Raises
        Displaced, and ValueError for records that no reader would take.
        """
        self.begin(changed)
        await self.flush(store)
        return self.state

    def begin(self, changed: Sequence[Record]) -> None:
        """Fix the bytes of the next segments; `flush` writes them."""
        if self._pending:
            raise RuntimeError("the last commit is still pending: flush it first")
        after = records.fold_all(self.state, changed)
        for data in pack(changed, self._limit):
            self._seq += 1
            self._pending.append((self.claim.segment(self._seq), data))
        blank = all(record["type"] == "opened" for record in changed)
        self._next = (after, self.empty and blank)

    async def flush(self, store: ObjectStore) -> None:
        """Write what is pending, the same bytes under the same key as before."""
        if self._displaced:
            raise self._overtaken()
        while self._pending:
            ref, data = self._pending[0]
            # The key is ours alone, so that an unconditional PUT can only repeat itself.
            await store.put(self.keys.segment(ref), data)
            await self._look(store, ref)
            if self._pending and self._pending[0][0] == ref:
                self._pending.popleft()
        self.state, self.empty = self._next

    async def check(self, store: ObjectStore) -> None:
        """Whether the store answers and the run is still ours. Raises Displaced and StoreError."""
        await self._look(store, self.claim.segment(self._seq))

    async def _look(self, store: ObjectStore, behind: SegmentRef) -> None:
        """Leave if somebody opened the run after us.

        A claim of a higher term, or of our term with a higher nonce, sorts behind our last segment,
        as does the mark of a deletion, and everything else before it: the LIST is empty, however
        long the journal is.
        """
        listed = await store.list(self.keys.journal(), self.keys.segment(behind))
        found = [ref for ref in map(parse_segment_key, listed) if ref is not None]
        higher = any(Claim(ref.term, ref.nonce) > self.claim for ref in found)
        if higher or self.keys.purging() in listed:  # nobody owns a run that is being deleted
            self._displaced = True
        if self._displaced:
            raise self._overtaken()

    def _overtaken(self) -> Displaced:
        return Displaced(f"term {self.term} of the run was overtaken")
