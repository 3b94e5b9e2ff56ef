"""The claim: which of two is higher, and what it says."""

import json
from typing import Any

import pytest

from tune_operator.experiment.claim import Claim, Owner, check_document
from tune_operator.experiment.segments import JournalUnreadable
from tune_trainer.protocol.keys import SegmentRef

OWNER = Owner("cluster", "ns", "digits", "uid")


def test_the_higher_term_wins_and_among_equals_the_higher_nonce() -> None:
    claims = [Claim(10, "aa"), Claim(2, "bb"), Claim(2, "aa"), Claim(1, "ff")]
    assert sorted(claims) == [Claim(1, "ff"), Claim(2, "aa"), Claim(2, "bb"), Claim(10, "aa")]


def test_it_is_the_segment_with_number_0() -> None:
    assert Claim(3, "ab").segment(0) == SegmentRef(3, "ab", 0)


def test_it_says_who_opens_the_run() -> None:
    document = json.loads(Claim(3, "ab").document(OWNER))
    assert document == {
        "type": "claim",
        "version": 1,
        "term": 3,
        "nonce": "ab",
        "owner": {"cluster": "cluster", "namespace": "ns", "name": "digits", "uid": "uid"},
    }


def test_one_of_ours_is_taken() -> None:
    check_document("k", Claim(3, "ab").document(OWNER))


@pytest.mark.parametrize("change", [{"version": 2}, {"version": None}])
def test_one_of_another_version_is_refused_by_its_key(change: dict[str, Any]) -> None:
    document = {**json.loads(Claim(3, "ab").document(OWNER)), **change}
    with pytest.raises(JournalUnreadable, match=r"the-key: claim\.version"):
        check_document("the-key", json.dumps(document).encode())
