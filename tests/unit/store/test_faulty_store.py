"""The faulty store does what its script says, and else what every store does."""

import asyncio

import pytest

from tests.faulty_store import Fault, FaultyStore, once, seeded
from tests.unit.store.conformance import Conformance, begin_in_memory
from tune_operator.store.errors import AccessDenied, StoreError, Unreachable
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore, Upload


class TestConformance(Conformance):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return FaultyStore(MemoryStore())

    async def begin(self, store: ObjectStore, key: str) -> Upload:
        assert isinstance(store, FaultyStore)
        return begin_in_memory(store.store, key)


@pytest.mark.parametrize(
    ("fault", "error", "lands"),
    [
        (Fault.LOST, Unreachable, False),
        (Fault.REFUSED, AccessDenied, False),
        (Fault.UNHEARD, Unreachable, True),
        (Fault.LATE, Unreachable, False),
    ],
)
async def test_a_fault_is_an_error_and_lands_or_not(fault: Fault, error: type, lands: bool) -> None:
    store = FaultyStore(MemoryStore(), once("put", fault, part="b"))
    await store.put("a", b"")
    with pytest.raises(error):
        await store.put("b", b"")
    await store.put("b2", b"")
    assert ("b" in await store.list("")) is lands
    assert [(each.key, each.answered) for each in store.history if each.writes] == [
        ("a", True),
        ("b", False),
        ("b2", True),
    ]


async def test_a_late_write_lands_behind_its_successor() -> None:
    store = FaultyStore(MemoryStore(), once("put", Fault.LATE))
    with pytest.raises(Unreachable):
        await store.put("k", b"first")
    await store.put("k", b"second")
    await store.land()
    assert await store.get("k") == b"first"
    assert [each.landed for each in store.history] == [2, 1, 3]
    assert store.late == []


@pytest.mark.parametrize(("fault", "landed"), [(Fault.HANG, 0), (Fault.DELAYED, 1)])
async def test_a_hanging_operation_waits_for_its_go(fault: Fault, landed: int) -> None:
    store = FaultyStore(MemoryStore(), once("put", fault))
    task = asyncio.ensure_future(store.put("k", b""))
    await asyncio.sleep(0)
    (operation,) = store.waiting
    assert operation.landed == landed
    operation.go()
    await task
    assert operation.answered
    assert operation.landed == 1


async def test_what_hangs_can_still_fail() -> None:
    store = FaultyStore(MemoryStore(), once("put", Fault.HANG))
    task = asyncio.ensure_future(store.put("k", b""))
    await asyncio.sleep(0)
    store.waiting[0].go(Fault.LATE)
    with pytest.raises(Unreachable):
        await task
    assert [operation.key for operation in store.late] == ["k"]


async def test_while_it_is_down_nothing_is_answered() -> None:
    store = FaultyStore(MemoryStore())
    store.down = True
    for call in (store.get("k"), store.list(""), store.put("k", b"")):
        with pytest.raises(Unreachable):
            await call
    store.down = False
    assert await store.list("") == []


async def test_the_same_seed_gives_the_same_faults() -> None:
    async def faults(seed: int) -> list[Fault | None]:
        store = FaultyStore(MemoryStore(), seeded(seed, 0.5))
        for number in range(50):
            try:
                await store.put(str(number), b"")
            except StoreError:
                continue
        return [operation.fault for operation in store.history]

    assert await faults(1) == await faults(1) != await faults(2)
