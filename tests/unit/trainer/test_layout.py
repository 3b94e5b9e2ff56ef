"""Which object each file goes into: every file once, few requests, and a refusal by name."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_trainer.checkpoint import layout
from tune_trainer.protocol import pack
from tune_trainer.protocol.manifest import PART_SIZE
from tune_trainer.protocol.pack import Member

MIB = 1024 * 1024
SIZES = st.lists(
    st.integers(0, 2000) | st.integers(0, MIB - 1) | st.integers(MIB, 100 * MIB), max_size=60
)


def members(*sizes: int) -> list[Member]:
    return [Member(f"file-{number:05d}", size) for number, size in enumerate(sizes)]


@given(SIZES)
def test_every_file_is_in_exactly_one_object(sizes: list[int]) -> None:
    found = members(*sizes)
    planned = layout.plan(found)
    packed = [member for plan in planned.packs for member in plan.members]
    alone = [Member(file.name, file.size) for file in planned.files]
    assert sorted([*packed, *alone], key=lambda member: member.path) == found
    for plan in planned.packs:
        weight = len(pack.table(plan.members)) + sum(member.size for member in plan.members)
        assert weight <= PART_SIZE


def test_thousands_of_small_files_are_a_handful_of_objects() -> None:
    planned = layout.plan(members(*[1024] * 50_000))
    assert planned.files == ()
    assert len(planned.packs) == 4


def test_a_few_small_files_keep_their_names_in_the_bucket() -> None:
    planned = layout.plan(members(*[100] * layout.FEW, 20 * MIB))
    assert planned.packs == ()
    assert len(planned.files) == layout.FEW + 1


def test_an_empty_directory_needs_a_pack() -> None:
    planned = layout.plan([Member("a", 3), Member("empty/", 0)])
    assert [plan.members for plan in planned.packs] == [(Member("a", 3), Member("empty/", 0))]


@pytest.mark.parametrize("taken", ["pack", "pack-00000", "pack/inside"])
def test_a_pack_takes_no_file_s_name(taken: str) -> None:
    planned = layout.plan([*members(*[1] * 20), Member(taken, 20 * MIB)])
    assert [plan.name for plan in planned.packs] == ["_pack-00000"]


def test_a_huge_file_has_parts_as_large_as_s3_needs() -> None:
    [file] = layout.plan(members(10**12)).files
    assert file.parts <= layout.MOST_PARTS
    start, length = file.extent(file.parts - 1)
    assert start + length == 10**12


def test_a_directory_is_found_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "sub" / "empty").mkdir(parents=True)
    (tmp_path / "sub" / "b").write_bytes(b"12")
    (tmp_path / "a").write_bytes(b"")
    assert layout.scan(tmp_path) == [Member("a", 0), Member("sub/b", 2), Member("sub/empty/", 0)]


@pytest.mark.parametrize("name", ["a\\b", "a\nb", b"\xff"], ids=["backslash", "newline", "latin"])
def test_a_name_that_no_store_would_give_back_is_refused(tmp_path: Path, name: str | bytes) -> None:
    with open(os.path.join(os.fsencode(tmp_path), os.fsencode(name)), "wb"):  # noqa: PTH118, PTH123
        pass
    with pytest.raises(ValueError, match="in the checkpoint: its name"):
        layout.scan(tmp_path)


def test_a_pipe_is_refused_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="'pipe' in the checkpoint is neither a file"):
        layout.scan(tmp_path)


def test_a_path_that_no_key_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 700 bytes"):
        layout.plan([Member("long/" * 150 + "x", MIB)])
