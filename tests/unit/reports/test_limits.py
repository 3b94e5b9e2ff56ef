"""Token buckets, with a clock of the test's own."""

import pytest

from tune_operator.reports.limits import RateLimiter, retry_after


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(2, 3, monotonic=clock)
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.25
    assert limiter.take("a") == pytest.approx(0.25)
    clock.now += 0.25
    assert limiter.take("a") == 0
    assert limiter.take("a") == pytest.approx(0.5)


def test_idleness_saves_no_more_than_a_burst() -> None:
    clock = Clock()
    limiter = RateLimiter(10, 2, monotonic=clock)
    limiter.take("a")
    clock.now += 1000
    assert [limiter.take("a") for _ in range(3)] == [0, 0, pytest.approx(0.1)]


def test_keys_do_not_share() -> None:
    limiter = RateLimiter(1, 1, monotonic=Clock())
    assert limiter.take("a") == 0
    assert limiter.take("a") > 0
    assert limiter.take("b") == 0


def test_only_the_keys_seen_last_are_kept() -> None:
    limiter = RateLimiter(1, 1, keys=2, monotonic=Clock())
    for key in ("a", "b", "a", "c"):
        limiter.take(key)
    assert limiter.take("a") > 0  # still known to be empty
    assert limiter.take("b") == 0  # forgotten, so full


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (60, "60")])
def test_retry_after_is_whole_seconds(seconds: float, header: str) -> None:
    assert retry_after(seconds) == header
