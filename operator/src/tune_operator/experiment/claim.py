"""The claim: one writer per run, whatever the Lease says (DESIGN 9, Term).

Opening a run takes the next term, first in the object's status (compare-and-swap), then as an
object in the store. The PUT also proves, before the first Pod, that the store takes our writes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from tune_operator.experiment.segments import JournalUnreadable
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol import VERSION, fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import RunKeys, SegmentRef, parse_segment_key


class Displaced(Exception):
    """Somebody opened the run with a higher term: leave it."""


@dataclass(frozen=True)
class Owner:
    """Who claims: enough for another cluster to find out whether this owner still lives."""

    cluster: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, order=True)
class Claim:
    """One opening of a run; ``nonce`` tells two openings of one term apart. The highest owns it."""

    term: int
    nonce: str

    def segment(self, seq: int) -> SegmentRef:
        """A segment of this opening; the claim itself is number 0."""
        return SegmentRef(self.term, self.nonce, seq)

    def document(self, owner: Owner) -> bytes:
        """The claim as an object: who opens the run, and in which format it will write."""
        document = {
            "version": VERSION,
            "type": "claim",
            "term": self.term,
            "nonce": self.nonce,
            "owner": asdict(owner),
        }
        return json.dumps(document, sort_keys=True).encode() + b"\n"


async def next_term(store: ObjectStore, keys: RunKeys, known: int) -> int:
    """One above every term that left a trace, in status or store. Raises StoreError."""
    return 1 + max([known, *(term for term, _ in await _claims(store, keys))])


async def open_run(
    store: ObjectStore,
    keys: RunKeys,
    owner: Owner,
    claim: Claim,
    take_term: Callable[[int], Awaitable[None]],
) -> None:
    """Claim the run. ``take_term`` writes the term into the status and raises if it may not.

    Safe to call again with the same claim until it returns. Raises Displaced and StoreError.
    """
    await take_term(claim.term)
    await store.put_if_absent(keys.segment(claim.segment(0)), claim.document(owner))
    # Only a LIST after our own PUT sees whoever was faster; the higher (term, nonce) stays.
    if max(await _claims(store, keys)) > (claim.term, claim.nonce):
        raise Displaced(f"term {claim.term} of the run was overtaken")


async def _claims(store: ObjectStore, keys: RunKeys) -> list[tuple[int, str]]:
    parsed = [parse_segment_key(key) for key in await store.list(keys.journal())]
    return [(ref.term, ref.nonce) for ref in parsed if ref is not None and ref.seq == 0]


def check_document(key: str, data: bytes) -> None:
    """See that whoever claimed the run writes our format. Raises JournalUnreadable."""
    try:
        fields.load(data, "claim")
    except ProtocolError as error:
        raise JournalUnreadable(key, str(error)) from None
