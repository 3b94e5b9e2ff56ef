"""Segments: the same records are the same bytes, cut where a record ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_operator.experiment.segments import pack, unpack

records = st.fixed_dictionaries({"type": st.text(max_size=20)})


@given(st.lists(records, max_size=20), st.integers(200, 400))
def test_what_is_packed_is_unpacked_and_no_segment_is_too_large(
    given_records: list[dict[str, str]], limit: int
) -> None:
    segments = pack(given_records, limit)
    assert [record for data in segments for record in unpack("k", data)] == given_records
    assert all(0 < len(data) <= limit for data in segments)
    assert pack(given_records, limit) == segments


def test_a_segment_is_read_line_by_line() -> None:
    assert pack([{"type": "run", "a": 1}, {"type": "x"}]) == [
        b'{"a":1,"type":"run"}\n{"type":"x"}\n'
    ]


def test_no_records_are_no_segment() -> None:
    assert pack([]) == []


@pytest.mark.parametrize("record", [{"type": "x" * 100}, {"type": float("nan")}])
def test_what_fits_into_no_segment_is_a_defect(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fits into no segment|JSON compliant"):
        pack([record], limit=50)
