"""Every place for one fault, and for two: nothing that a random search could have missed.

The reference run has 2 trials with 3 attempts each: the first crashes, the second is evicted, the
third completes. Whatever befalls the operator at any one of its writes, attempts and counters at
the end are the same: a crash of the operator is no event in the life of a trial.
"""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.cases import ran
from tests.model.cases import THOROUGH
from tests.model.script import Fault, placements, play

pytestmark = pytest.mark.timeout(300)  # pure computing: a busy machine takes its time


ONE = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.LOST_ANSWER)
# A crash before a write is much like one after the write before it.
TWO = (Fault.CRASH_AFTER, Fault.LOST_ANSWER)


@pytest.mark.parametrize("fault", Fault if THOROUGH else ONE)
def test_one_fault_at_any_write(fault: Fault, request: pytest.FixtureRequest) -> None:
    number = 0
    for number in placements("fec", 2):
        play("fec", 2, {number: fault})
    ran(request.node.nodeid, number - 1)  # the test itself counts as one


@pytest.mark.parametrize("second", Fault if THOROUGH else TWO[:1])
@pytest.mark.parametrize("first", Fault if THOROUGH else TWO)
def test_two_faults_at_any_writes_of_a_short_run(
    first: Fault, second: Fault, request: pytest.FixtureRequest
) -> None:
    pairs = list(combinations(placements("c", 1), 2))
    for one, two in pairs:
        play("c", 1, {one: first, two: second})
    ran(request.node.nodeid, len(pairs) - 1)
