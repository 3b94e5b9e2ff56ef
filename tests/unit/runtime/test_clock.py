from datetime import UTC

import pytest

from tune_operator.runtime.clock import SystemClock


def test_now_is_utc_and_aware() -> None:
    assert SystemClock().now().tzinfo is UTC


@pytest.mark.parametrize("seconds", [0.0, -5.0, 0.001])
async def test_sleep_returns_after_at_least_that_long(seconds: float) -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(seconds)
    assert clock.monotonic() - before >= seconds
