"""Many small files in one object, so that a checkpoint of thousands of them takes few requests.

A pack begins with the length of its table (8 bytes, big-endian) and the table, JSON:
``[["a/b", 12], ["empty/", 0], ...]``, paths with their sizes. The files' bytes follow in the same
order. A path that ends in a slash is an empty directory. The table lies here and not in the
manifest, whose checksum of the pack covers it: a manifest stays small however many files there are.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tune_trainer.protocol import fields
from tune_trainer.protocol.errors import ProtocolError

_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True)
class Member:
    """One file of a pack, or an empty directory (a path that ends in a slash)."""

    path: str
    size: int

    @property
    def is_directory(self) -> bool:
        """Whether it stands for an empty directory."""
        return self.path.endswith("/")


def table(members: Sequence[Member]) -> bytes:
    """The beginning of a pack, up to the bytes of its first file."""
    rows = json.dumps([[m.path, m.size] for m in members], separators=(",", ":")).encode()
    return _LENGTH.pack(len(rows)) + rows


def row_size(member: Member) -> int:
    """Bytes that a member adds to a table, at most."""
    return len(json.dumps([member.path, member.size])) + 1


def unpack(data: memoryview) -> Iterator[tuple[Member, memoryview]]:
    """Every member with its bytes; raises ProtocolError when they do not fill the pack exactly."""
    members, offset = _members(data)
    if offset + sum(member.size for member in members) != len(data):
        raise ProtocolError("pack: its table does not describe its bytes")
    for member in members:
        yield member, data[offset : offset + member.size]
        offset += member.size


def _members(data: memoryview) -> tuple[list[Member], int]:
    if len(data) < _LENGTH.size:
        raise ProtocolError("pack: is shorter than its table")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if end > len(data):
        raise ProtocolError("pack: is shorter than its table")
    try:
        rows = json.loads(bytes(data[_LENGTH.size : end]))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"pack: its table is no JSON ({error})") from None
    if not isinstance(rows, list):
        raise ProtocolError("pack: its table is no list")
    return [_member(row, f"pack[{index}]") for index, row in enumerate(rows)], end


def _member(row: object, where: str) -> Member:
    match row:
        case [str(path), int(size)] if 0 <= size <= fields.LARGEST_SIZE:
            member = Member(path, size)
        case _:
            raise ProtocolError(f"{where}: expected [path, size]")
    fields.plain_path(path.removesuffix("/"), where)
    if member.is_directory and size:
        raise ProtocolError(f"{where}: a directory has no bytes")
    return member
