"""Budgets: N retries are N+1 attempts; pauses double until a checkpoint is committed."""

import pytest

from tests.unit.lifecycle.builders import NOW, failing, idle
from tune_operator.lifecycle.budget import backoff, exhausted
from tune_operator.lifecycle.trial_state import Interruption


@pytest.mark.parametrize(
    ("maximum", "failures", "disruptions", "spent"),
    [
        pytest.param(0, 0, 0, False, id="none left to lose, none lost"),
        pytest.param(0, 1, 0, True, id="0: the first failure is the last"),
        pytest.param(0, 0, 1, True, id="0: a disruption uses it up too"),
        pytest.param(3, 3, 0, False, id="3: the third failure leaves a fourth attempt"),
        pytest.param(3, 4, 0, True, id="3: the fourth does not"),
        pytest.param(3, 2, 2, True, id="3: both counters together"),
        pytest.param(-1, 1000, 1000, False, id="-1 is unlimited"),
    ],
)
def test_budget(maximum: int, failures: int, disruptions: int, spent: bool) -> None:
    trial = idle(failures=failures, disruptions=disruptions, infrastructure=99)
    assert exhausted(trial, failing(maxFailures=maximum)) is spent


@pytest.mark.parametrize(
    ("maximum", "failures", "disruptions", "spent"),
    [
        pytest.param(3, 0, 20, False, id="the last disruption that is ignored"),
        pytest.param(3, 0, 21, True, id="one more is not"),
        pytest.param(-1, 0, 21, True, id="not even if failures are unlimited"),
        pytest.param(3, 3, 20, False, id="both just within"),
        pytest.param(3, 4, 0, True, id="failures have their own budget"),
        pytest.param(0, 0, 20, False, id="which may be none"),
        pytest.param(0, 1, 0, True, id="and is then spent by the first"),
    ],
)
def test_budget_when_disruptions_are_ignored(
    maximum: int, failures: int, disruptions: int, spent: bool
) -> None:
    trial = idle(failures=failures, disruptions=disruptions, infrastructure=99)
    section = failing(maxFailures=maximum, disruptions={"policy": "Ignore", "max": 20})
    assert exhausted(trial, section) is spent


def test_a_bound_of_disruptions_means_nothing_while_they_count() -> None:
    section = failing(maxFailures=-1, disruptions={"policy": "Count", "max": 0})
    assert not exhausted(idle(disruptions=9), section)


@pytest.mark.parametrize(
    ("cls", "streak", "seconds"),
    [
        pytest.param("preempted", 0, 0, id="a new checkpoint was committed"),
        pytest.param("preempted", 1, 0, id="the first disruption restarts at once"),
        pytest.param("lost", 1, 0, id="so does the first loss"),
        pytest.param("failed", 1, 1, id="the first failure waits"),
        pytest.param("rejected", 1, 1, id="a rejection waits"),
        pytest.param("interrupted", 1, 1, id="an interruption waits"),
        pytest.param("preempted", 2, 2, id="the second disruption waits"),
        pytest.param("failed", 5, 16, id="doubling"),
        pytest.param("failed", 9, 256, id="doubling on"),
        pytest.param("failed", 10, 300, id="up to the maximum"),
        pytest.param("failed", 10_000, 300, id="without overflow"),
    ],
)
def test_backoff(cls: str, streak: int, seconds: float) -> None:
    why = Interruption(cls, "", "", row=16, attempt=1, iteration=0, time=NOW)
    trial = idle(streak=streak, interruption=why)
    assert backoff(trial, 1, 300).total_seconds() == seconds


def test_no_backoff_at_all_where_none_is_wanted() -> None:
    why = Interruption("failed", "", "", row=16, attempt=1, iteration=0, time=NOW)
    assert backoff(idle(streak=7, interruption=why), 0, 0).total_seconds() == 0
