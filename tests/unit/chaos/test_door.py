"""What a played trainer concludes from a refusal, in the words of the real one."""

from __future__ import annotations

import pytest

from tests.chaos.door import Refused
from tests.chaos.ledger import Attempt, Ledger
from tune_operator.reports import refusals
from tune_operator.reports.refusals import Refusal
from tune_operator.reports.sink import Outdated


@pytest.mark.parametrize(
    ("refusal", "outdated"),
    [
        (refusals.of_sink(Outdated("this attempt is not the current one")), True),
        (refusals.unauthenticated("the token is invalid"), False),
    ],
    ids=["replaced", "its token is void"],
)
def test_only_an_outdated_attempt_knows_that_it_was_replaced(
    refusal: Refusal, outdated: bool
) -> None:
    answer = refusal.answer()
    assert answer.status == 401
    assert isinstance(answer.body, bytes)
    assert Refused(answer.body, 1).outdated is outdated


def test_an_attempt_is_replaced_by_a_later_one_of_its_trial() -> None:
    ledger = Ledger()
    first, other, second = (
        Attempt("0", 1, "a", ""),
        Attempt("1", 2, "b", ""),
        Attempt("0", 2, "c", ""),
    )
    ledger.attempts = {one.uid: one for one in (first, other)}
    assert not ledger.replaced(first)
    ledger.attempts[second.uid] = second
    assert ledger.replaced(first)
    assert not ledger.replaced(second)
