import pytest

from tune_operator.runtime.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        pytest.param(1, 1.0, id="first failure waits the initial delay"),
        pytest.param(2, 2.0, id="second doubles"),
        pytest.param(5, 16.0, id="fifth is the fourth doubling"),
        pytest.param(6, 20.0, id="never above the maximum"),
        pytest.param(100_000, 20.0, id="a very long outage does not overflow"),
        pytest.param(0, 1.0, id="nothing failed yet counts like once"),
    ],
)
def test_delay_without_jitter(failures: int, expected: float) -> None:
    assert Backoff(initial=1.0, maximum=20.0).delay(failures) == expected


@pytest.mark.parametrize(
    ("uniform", "expected"),
    [
        pytest.param(0.0, 8.0, id="lowest draw keeps the whole delay"),
        pytest.param(0.5, 7.0, id="middle draw takes off half of the random share"),
        pytest.param(1.0, 6.0, id="highest draw takes off the random share"),
    ],
)
def test_jitter_only_shortens(uniform: float, expected: float) -> None:
    assert Backoff(initial=8.0, maximum=8.0, jitter=0.25).delay(1, lambda: uniform) == expected
