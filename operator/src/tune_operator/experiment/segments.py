"""Segments: the records of one commit as one object of the store, JSON lines.

The bytes of a segment are fixed when it is packed, so that every retry writes the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from tune_operator.experiment.records import Record
from tune_operator.store.object_store import OBJECT_LIMIT
from tune_trainer.protocol import fields


class JournalUnreadable(Exception):
    """The journal is damaged or of a newer version: nothing may be made of it, nothing written."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key = key
        self.message = f"{key}: {why}"


def pack(records: Iterable[Record], limit: int = OBJECT_LIMIT) -> list[bytes]:
    """The records in as few segments as their size allows; none for no records.

    ValueError for one record that alone is larger than ``limit`` bytes.
    """
    segments: list[list[bytes]] = []
    room = 0
    for record in records:
        line = fields.dump(record) + b"\n"
        if len(line) > limit:
            raise ValueError(f"a record of {len(line)} bytes fits into no segment")
        if len(line) > room:
            segments.append([])
            room = limit
        segments[-1].append(line)
        room -= len(line)
    return [b"".join(lines) for lines in segments]


def unpack(key: str, data: bytes) -> list[dict[str, Any]]:
    """The records of a segment. Raises JournalUnreadable."""
    if not data.endswith(b"\n"):
        raise JournalUnreadable(key, "is empty or was cut")
    try:
        records = [json.loads(line, parse_constant=_refuse) for line in data.splitlines()]
    except (ValueError, RecursionError):
        raise JournalUnreadable(key, "is not JSON") from None
    if not all(isinstance(record, dict) for record in records):
        raise JournalUnreadable(key, "holds something that is no record")
    return records


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)
