"""Packs of small files: what is packed is unpacked, and nothing else is."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.pack import Member, row_size, table, unpack

NAMES = st.text(st.characters(exclude_characters="/\\", codec="utf-8"), min_size=1).filter(
    lambda name: name not in {".", ".."}
)
FILES = st.dictionaries(NAMES, st.binary(max_size=50), max_size=8)


def packed(files: dict[str, bytes]) -> bytes:
    members = [Member(path, len(data)) for path, data in files.items()]
    return table(members) + b"".join(files.values())


@given(FILES)
def test_what_is_packed_is_unpacked(files: dict[str, bytes]) -> None:
    found = unpack(memoryview(packed(files)))
    assert {member.path: bytes(data) for member, data in found} == files


@given(FILES)
def test_a_table_is_no_larger_than_was_said(files: dict[str, bytes]) -> None:
    members = [Member(path, len(data)) for path, data in files.items()]
    assert len(table(members)) <= 10 + sum(map(row_size, members))


@given(FILES.filter(bool), st.data())
def test_a_torn_pack_is_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    whole = packed(files)
    torn = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ProtocolError):
        list(unpack(memoryview(torn)))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([["../up", 0]], id="up"),
        pytest.param([["/etc/passwd", 0]], id="absolute"),
        pytest.param([["a//b", 0]], id="an empty part"),
        pytest.param([["", 0]], id="nothing"),
        pytest.param([["a", -1], ["b", 1]], id="negative"),
        pytest.param([["a", True]], id="no number"),
        pytest.param([["a/", 1]], id="a directory with bytes"),
        pytest.param([["a"]], id="no size"),
        pytest.param({"a": 0}, id="no list"),
    ],
)
def test_a_table_that_is_not_ours_is_refused(rows: object) -> None:
    head = json.dumps(rows).encode()
    with pytest.raises(ProtocolError):
        list(unpack(memoryview(struct.pack(">Q", len(head)) + head)))
