"""Which object each file of a checkpoint goes into.

A file is an object of its own, under its own path, so that people find it in the bucket. Many small
ones share packs: a request costs as much as sending a megabyte. Empty directories are kept, in a
pack as well. Modes, owners and times are not kept: files come back readable by the trainer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tune_trainer.protocol import pack
from tune_trainer.protocol.manifest import PART_SIZE
from tune_trainer.protocol.pack import Member

MOST_PARTS = 10_000
"""What S3 allows for one object; larger files get larger parts."""

SMALL = 1024 * 1024
"""Bytes below which a file may go into a pack."""
FEW = 8
"""As many small files stay objects of their own."""
PACK_SIZE = PART_SIZE
"""Bytes of a pack, its table included: it is written and read as one part."""

LONGEST_NAME = 700
"""Bytes of a path that is to be an object's key: S3 takes 1024, the prefix needs some."""


@dataclass(frozen=True)
class LargeFile:
    """A file that is an object of its own."""

    name: str
    size: int
    part_size: int

    @property
    def parts(self) -> int:
        """0 for an empty file, which needs no object."""
        return -(-self.size // self.part_size)

    def extent(self, number: int) -> tuple[int, int]:
        """Offset and length of a part, numbered from 0."""
        start = number * self.part_size
        return start, min(self.part_size, self.size - start)


@dataclass(frozen=True)
class PackPlan:
    """An object to make of these."""

    name: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Layout:
    """All objects of a checkpoint; together they hold every file once."""

    files: tuple[LargeFile, ...]
    packs: tuple[PackPlan, ...]


def scan(directory: Path) -> list[Member]:
    """Every file and every empty directory below, by path.

    Raises ValueError, which names the path, for what cannot be saved.
    """
    return sorted(_found(str(directory), ""), key=lambda member: member.path)


def _found(folder: str, prefix: str) -> Iterable[Member]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            _require_name(path)
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                within = list(_found(entry.path, f"{path}/"))
                yield from within or [Member(f"{path}/", 0)]
            elif stat.S_ISREG(status.st_mode):
                yield Member(path, status.st_size)
            else:
                raise ValueError(f"{path!r} in the checkpoint is neither a file nor a directory")


def _require_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path!r} in the checkpoint: its name is not UTF-8") from None
    if "\\" in path or not path.isprintable():
        raise ValueError(
            f"{path!r} in the checkpoint: its name has a backslash or a character that cannot be "
            "printed; not every store takes it"
        )


def plan(found: Iterable[Member]) -> Layout:
    """Decide for what ``scan`` found; raises ValueError for a path that no key can hold."""
    members = list(found)
    small = [m for m in members if m.is_directory or m.size < SMALL]
    if len(small) <= FEW and not any(m.is_directory for m in small):
        small = []
    packed = frozenset(m.path for m in small)
    files = tuple(_large(m) for m in members if m.path not in packed)
    return Layout(files, tuple(_packs(small, {file.name for file in files})))


def _large(member: Member) -> LargeFile:
    if len(member.path.encode()) > LONGEST_NAME:
        raise ValueError(f"{member.path!r} in the checkpoint is longer than {LONGEST_NAME} bytes")
    part_size = max(PART_SIZE, -(-member.size // MOST_PARTS))
    return LargeFile(member.path, member.size, part_size)


def _packs(members: list[Member], taken: set[str]) -> Iterable[PackPlan]:
    """In order, each as full as it gets, under names that are no file's."""
    ahead = "pack"
    while any(name == ahead or name.startswith((f"{ahead}-", f"{ahead}/")) for name in taken):
        ahead = f"_{ahead}"
    chunk: list[Member] = []
    size = number = 0
    for member in members:
        weight = pack.row_size(member) + member.size
        if chunk and size + weight > PACK_SIZE - 64:  # the length and the brackets
            yield PackPlan(f"{ahead}-{number:05d}", tuple(chunk))
            chunk, size, number = [], 0, number + 1
        chunk.append(member)
        size += weight
    if chunk:
        yield PackPlan(f"{ahead}-{number:05d}", tuple(chunk))
