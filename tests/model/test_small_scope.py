"""Every place for one fault, and for two: nothing that a random search could have missed.

The reference run has 2 trials with 3 attempts each: the first crashes, the second is evicted, the
third completes. In others the trials end differently, the run is stopped, or it loses a node.
Whatever befalls the operator at any one of its writes, attempts and counters at the end are the
same: a crash of the operator is no event in the life of a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations

import pytest

from tests.cases import ran
from tests.model.cases import THOROUGH
from tests.model.script import Fault, play, play_collected, play_losing, play_stopping

pytestmark = pytest.mark.timeout(300)  # pure computing: a busy machine takes its time


ALIKE, SHORT, LONG = ("fec", "fec"), ("fc", "ec"), ("ffc", "eec")
RUNS: dict[str, Callable[[Mapping[int, Fault]], int]] = {
    "alike": partial(play, ALIKE),
    "short": partial(play, SHORT),
    "long": partial(play, LONG),
    "stopping": play_stopping,
    "losing": play_losing,
    "collected": play_collected,
}
TWO = (Fault.CRASH_AFTER, Fault.LOST_ANSWER)
"""The worst. A crash before a write is much like one after the write before it."""


@pytest.mark.parametrize("run", RUNS)
def test_no_fault(run: str) -> None:
    RUNS[run]({})


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("run", RUNS)
def test_one_fault_at_any_write(run: str, fault: Fault, request: pytest.FixtureRequest) -> None:
    writes = RUNS[run]({})
    for number in range(1, writes + 1):
        RUNS[run]({number: fault})
    ran(request.node.nodeid, writes - 1)  # the test itself counts as one


@pytest.mark.parametrize("second", Fault if THOROUGH else TWO[:1])
@pytest.mark.parametrize("first", Fault if THOROUGH else TWO)
def test_two_faults_at_any_writes_of_a_short_run(
    first: Fault, second: Fault, request: pytest.FixtureRequest
) -> None:
    pairs = list(combinations(range(1, play(("c",), {}) + 1), 2))
    for one, two in pairs:
        play(("c",), {one: first, two: second})
    ran(request.node.nodeid, len(pairs) - 1)
