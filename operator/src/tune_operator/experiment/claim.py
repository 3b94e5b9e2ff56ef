"""The claim: one writer per run, whatever the Lease says (DESIGN 9, Term).

It is the first object of an opening, number 0 of its segments. Its PUT also proves, before the
first Pod, that the store takes our writes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tune_operator.experiment.segments import JournalUnreadable
from tune_trainer.protocol import VERSION, fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import SegmentRef


class Displaced(Exception):
    """Somebody opened the run with a higher term: leave it."""


class RunPurged(Exception):
    """The run is being deleted from the store: it is never opened again, nothing is written."""


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


def check_document(key: str, data: bytes) -> None:
    """See that whoever claimed the run writes our format. Raises JournalUnreadable."""
    try:
        fields.load(data, "claim")
    except ProtocolError as error:
        raise JournalUnreadable(key, str(error)) from None
