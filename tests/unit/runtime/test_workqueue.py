import asyncio

import pytest

from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.runtime.backoff import Backoff
from tune_operator.runtime.workqueue import QueueClosed, WorkQueue


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    return WorkQueue(clock, Backoff(initial=1.0, maximum=8.0))


async def take_all(queue: WorkQueue[str], clock: FakeClock) -> list[str]:
    """Everything that can be had now, each key done at once."""
    taken: list[str] = []
    while True:
        getter = asyncio.ensure_future(queue.get())
        await clock.settle()
        if not getter.done():
            getter.cancel()
            return taken
        taken.append(getter.result())
        queue.done(taken[-1])


async def test_keys_come_in_order_of_arrival_and_once(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    for key in ("a", "b", "a", "c", "b"):
        queue.add(key)
    assert await take_all(queue, clock) == ["a", "b", "c"]


async def test_waiting_worker_is_woken_by_an_add(queue: WorkQueue[str], clock: FakeClock) -> None:
    getter = asyncio.ensure_future(queue.get())
    await clock.settle()
    assert not getter.done()
    queue.add("a")
    assert await getter == "a"


async def test_key_in_a_workers_hands_is_not_given_to_another(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    other = asyncio.ensure_future(queue.get())
    await clock.settle()
    assert not other.done()
    queue.done("a")
    assert await other == "a"


async def test_adds_during_handling_queue_once_more(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a")
    await queue.get()
    for _ in range(3):
        queue.add("a")
    queue.done("a")
    assert await take_all(queue, clock) == ["a"]


async def test_done_without_an_add_queues_nothing(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add("a")
    await queue.get()
    queue.done("a")
    assert await take_all(queue, clock) == []


async def test_two_workers_share_two_keys(queue: WorkQueue[str], clock: FakeClock) -> None:
    getters = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    await clock.settle()
    queue.add("a")
    queue.add("b")
    assert sorted(await asyncio.gather(*getters)) == ["a", "b"]


async def test_delayed_key_comes_when_its_time_has_come(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a", after=5.0)
    getter = asyncio.ensure_future(queue.get())
    await clock.advance(4.9)
    assert not getter.done()
    await clock.advance(0.1)
    assert await getter == "a"


async def test_earliest_delay_wins_and_counts_once(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add("a", after=5.0)
    queue.add("a", after=2.0)
    queue.add("a", after=9.0)
    await clock.advance(1.9)
    assert await take_all(queue, clock) == []
    await clock.advance(0.1)
    assert await take_all(queue, clock) == ["a"]
    await clock.advance(60.0)
    assert await take_all(queue, clock) == []


async def test_shorter_delay_wakes_a_worker_that_waits_for_a_longer_one(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("late", after=100.0)
    getter = asyncio.ensure_future(queue.get())
    await clock.settle()
    queue.add("soon", after=1.0)
    await clock.advance(1.0)
    assert await getter == "soon"


async def test_add_now_leaves_the_look_later_in_place(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a", after=5.0)
    queue.add("a")
    assert await take_all(queue, clock) == ["a"]
    await clock.advance(5.0)
    assert await take_all(queue, clock) == ["a"]


async def test_delay_that_ends_during_handling_queues_once_more(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a", after=1.0)
    await clock.advance(1.0)
    assert await take_all(queue, clock) == []
    queue.done("a")
    assert await take_all(queue, clock) == ["a"]


async def test_retry_doubles_until_forgotten(queue: WorkQueue[str], clock: FakeClock) -> None:
    waited = []
    for step in range(6):
        if step == 5:
            queue.forget("a")
        queue.retry("a")
        before = clock.monotonic()
        while not await take_all(queue, clock):
            await clock.advance(0.5)
        waited.append(clock.monotonic() - before)
    assert waited == [1.0, 2.0, 4.0, 8.0, 8.0, 1.0]


async def test_oldest_age_counts_what_waits_and_what_is_handled(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    assert queue.oldest_age() == 0.0
    queue.add("a")
    await clock.advance(3.0)
    await queue.get()
    queue.add("b")
    await clock.advance(2.0)
    assert queue.oldest_age() == 5.0
    queue.done("a")
    assert queue.oldest_age() == 2.0
    await take_all(queue, clock)
    assert queue.oldest_age() == 0.0


async def test_delayed_key_has_no_age_before_it_is_due(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("a", after=30.0)
    await clock.advance(20.0)
    assert queue.oldest_age() == 0.0


async def test_close_hands_out_what_is_due_then_ends_the_workers(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    queue.add("due")
    queue.add("later", after=10.0)
    queue.close()
    queue.add("too late")
    assert await queue.get() == "due"
    with pytest.raises(QueueClosed):
        await queue.get()


async def test_close_wakes_a_waiting_worker(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add("later", after=10.0)
    getter = asyncio.ensure_future(queue.get())
    await clock.settle()
    queue.close()
    with pytest.raises(QueueClosed):
        await getter


async def test_cancelled_worker_loses_no_key(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add("a", after=1.0)
    getter = asyncio.ensure_future(queue.get())
    await clock.settle()
    getter.cancel()
    await clock.advance(1.0)
    assert await take_all(queue, clock) == ["a"]
