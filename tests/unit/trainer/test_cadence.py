"""When to save for maxLostSeconds: a table, and that never more is lost than the bound."""

import logging

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tune_trainer.cadence import Cadence, attainable, due

seconds = st.floats(0.01, 100)


@pytest.mark.parametrize(
    ("since", "step", "save", "expected"),
    [
        pytest.param(10, 10, 5.0, False, id="long before"),
        pytest.param(240, 10, 50.0, False, id="one more iteration just fits"),
        pytest.param(241, 10, 50.0, True, id="one more does not"),
        pytest.param(291, 10, 0.0, True, id="a save that takes no time"),
        pytest.param(400, 400, 1.0, True, id="each iteration is longer than the bound"),
        pytest.param(100, 10, None, False, id="the first save, early"),
        pytest.param(145, 10, None, True, id="the first save comes at half the bound"),
        pytest.param(200, 10, 150.0, False, id="a long save leaves half the time for training"),
        pytest.param(300, 10, 150.0, True, id="and then begins although it is late"),
    ],
)
def test_due(since: float, step: float, save: float | None, expected: bool) -> None:
    assert due(since, step, save, 300) is expected


@given(st.data())
def test_no_more_is_lost_than_the_bound_where_it_can_be_kept(data: st.DataObject) -> None:
    step, save, bound = data.draw(seconds), data.draw(seconds), data.draw(st.floats(0.1, 1000))
    assume(attainable(step, save, bound))
    since = 0.0
    for _ in range(50):
        took = data.draw(st.floats(0.01, step))
        since += took
        # Until the commit the state of the save before is the newest: so much a crash would cost.
        lost = since + data.draw(st.floats(0.0, save))
        if due(since, step, save, bound):
            assert lost <= bound * (1 + 1e-9)
            since = 0.0
        else:
            assert since + step + save <= bound


class Times:
    """A clock, and what iterations and saves take."""

    def __init__(self, step: float, save: float | None) -> None:
        self.now, self.step, self.save = 0.0, step, save

    def cadence(self, bound: float) -> Cadence:
        return Cadence(bound, lambda: self.step, lambda: self.save, lambda: self.now)


def saved_at(times: Times, bound: float, iterations: int) -> list[int]:
    cadence, saved = times.cadence(bound), []
    for iteration in range(1, iterations + 1):
        times.now += times.step
        if cadence.is_due():
            saved.append(iteration)
            cadence.saved()
    return saved


@pytest.mark.parametrize(
    ("step", "save", "bound", "saved"),
    [
        pytest.param(10, 5.0, 0, [], id="off"),
        pytest.param(10, 5.0, 35, [3, 6, 9], id="every third"),
        pytest.param(10, 5.0, 15, list(range(1, 11)), id="each"),
        pytest.param(1, 5.0, 10, [10], id="no oftener than half the time"),
        pytest.param(10, None, 60, [3, 6, 9], id="nothing was ever saved"),
    ],
)
def test_the_interval_follows_the_times(
    step: float, save: float | None, bound: float, saved: list[int]
) -> None:
    assert saved_at(Times(step, save), bound, 10) == saved


def test_a_bound_that_cannot_be_kept_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        saved_at(Times(20, 5.0), 30, 10)
    [message] = [record.getMessage() for record in caplog.records]
    assert "maxLostSeconds 30 cannot be kept" in message
    assert "up to 20.0 s and a save 5.0 s" in message
