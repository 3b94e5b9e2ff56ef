import asyncio

from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.runtime.heartbeat import Heartbeat


async def test_age_grows_only_while_the_loop_stands_still() -> None:
    clock = FakeClock()
    heartbeat = Heartbeat(clock)
    await clock.advance(7.0)
    assert heartbeat.age_seconds() == 7.0
    beating = asyncio.ensure_future(heartbeat.run())
    await clock.advance(10.25)
    assert heartbeat.age_seconds() == 0.25
    beating.cancel()
