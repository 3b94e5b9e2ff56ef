"""Keys of the journal: a LIST brings them in the order in which claims outrank each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import RunKeys, SegmentRef, parse_segment_key

KEYS = RunKeys.of("p", "ns", "x", "uid")
numbers = st.integers(0, 10**8 - 1)
segments = st.builds(
    SegmentRef, numbers, st.text("0123456789abcdef", min_size=1, max_size=16), numbers
)


@given(segments)
def test_a_segment_is_read_back_from_its_key_and_its_short_form(ref: SegmentRef) -> None:
    assert parse_segment_key(KEYS.segment(ref)) == ref
    assert SegmentRef.parse(str(ref)) == ref


@given(st.lists(segments, min_size=2, max_size=9))
def test_keys_sort_as_segments_do(refs: list[SegmentRef]) -> None:
    assert sorted(map(KEYS.segment, refs)) == [KEYS.segment(ref) for ref in sorted(refs)]


def test_a_key_has_fixed_widths_below_the_journal() -> None:
    key = KEYS.segment(SegmentRef(7, "ab12", 3))
    assert key == "p/ns/x/uid/experiment/j/00000007-ab12-00000003.jsonl"
    assert key.startswith(KEYS.journal())


@pytest.mark.parametrize("name", ["readme.txt", "7-ab-3.jsonl", "00000007-AB-00000003.jsonl", ""])
def test_a_foreign_key_is_no_segment(name: str) -> None:
    assert parse_segment_key(KEYS.journal() + name) is None


@pytest.mark.parametrize("text", ["", "7-ab-3", "00000007-ab-00000003.jsonl"])
def test_a_wrong_short_form_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="<term>-<nonce>-<seq>"):
        SegmentRef.parse(text)
