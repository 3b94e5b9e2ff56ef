"""The journal as whoever opens the run now would read it: a second reading of DESIGN 9.

It shares no code with the operator's reader but the form of a key, so that an error in one of them
shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tune_trainer.protocol.keys import SegmentRef, parse_segment_key

Record = Mapping[str, Any]


def segments(objects: Mapping[str, bytes], prefix: str) -> dict[SegmentRef, list[Record]]:
    """All segments in the store, whether they count or not; claims are none."""
    found = {
        parse_segment_key(key): data for key, data in objects.items() if key.startswith(prefix)
    }
    return {
        ref: [json.loads(line) for line in data.splitlines()]
        for ref, data in found.items()
        if ref is not None and ref.seq > 0
    }


def chain(found: Mapping[SegmentRef, list[Record]]) -> list[SegmentRef]:
    """Those that count, in order: the newest opening without a gap, and before it what it names."""
    heads = [ref for ref in found if ref.seq == 1]
    if not heads:
        return []
    head = max(heads)
    last = head
    while last.numbered(last.seq + 1) in found:
        last = last.numbered(last.seq + 1)
    read: list[SegmentRef] = []
    end: SegmentRef | None = last
    while end is not None:
        read = [end.numbered(seq) for seq in range(1, end.seq + 1)] + read
        after = found[end.numbered(1)][0]["after"]
        end = SegmentRef.parse(after) if after else None
    return read
