"""Reads a run's journal by the format's own rules (DESIGN 9), with none of the operator's code.

An opening writes `<term>-<nonce>-<seq>`, seq 0 being its claim. Its first record names the last
segment of others that counts; what older openings wrote behind that was never acknowledged.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tune_operator.store.object_store import ObjectStore

SEGMENT = re.compile(r"(\d{8})-([0-9a-f]+)-(\d{8})\.jsonl")

Opening = tuple[int, str]
Record = Mapping[str, Any]


class Broken(Exception):
    """The journal contradicts its own format."""


async def read(store: ObjectStore, prefix: str) -> list[Record]:
    """All records that count, in order; empty when no opening ever wrote one."""
    openings: dict[Opening, dict[int, list[Record]]] = defaultdict(dict)
    for key in await store.list(prefix):
        match = SEGMENT.fullmatch(key.removeprefix(prefix))
        if match is None:
            raise Broken(f"{key} is no segment")
        if int(match[3]) > 0:
            lines = (await store.get(key)).splitlines()
            records = [json.loads(line) for line in lines]
            openings[int(match[1]), match[2]][int(match[3])] = records
    return list(_chain(openings))


def rows(records: Iterable[Record]) -> dict[str, Record]:
    """The last row of each trial."""
    return {record["trial"]: record for record in records if record["type"] == "trial"}


def _chain(openings: Mapping[Opening, Mapping[int, list[Record]]]) -> Iterator[Record]:
    """Of the newest opening that wrote, and of all that it builds on."""
    parts: list[list[Record]] = []
    wrote = [opening for opening, segments in openings.items() if 1 in segments]
    current = max(wrote, default=None)
    last: int | None = None
    while current is not None:
        records = _readable(openings.get(current, {}), last, current)
        parts.append(records)
        after = records[0].get("after") if records and records[0]["type"] == "opened" else None
        if not records or records[0]["type"] != "opened":
            raise Broken(f"the opening {current} does not say what it follows")
        if after is None:
            break
        term, nonce, seq = after.split("-")
        current, last = (int(term), nonce), int(seq)
    for part in reversed(parts):
        yield from part


def _readable(
    segments: Mapping[int, list[Record]], last: int | None, opening: Opening
) -> list[Record]:
    """Up to the segment that a later opening named, else up to the first gap."""
    records: list[Record] = []
    number = 1
    while (last is None or number <= last) and number in segments:
        records += segments[number]
        number += 1
    if last is not None and number <= last:
        raise Broken(f"segment {number} of {opening} is missing, though a later one builds on it")
    return records
