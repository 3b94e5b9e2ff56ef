"""A store with faults on demand, around any other: what a network and a server can do to a request.

Each operation asks a script, once, what shall happen to it; `down` overrules it. The history tells
what was asked, what landed in which order, and what was answered::

    FaultyStore(MemoryStore(), once("put", Fault.UNHEARD))     # the first PUT
    FaultyStore(MemoryStore(), seeded(7, 0.1))                 # a tenth of all, repeatably
    FaultyStore(MemoryStore(), lambda operation: Fault.HANG)   # each waits for its go()
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from tune_operator.store.errors import AccessDenied, StoreError, Unreachable
from tune_operator.store.object_store import ObjectStore, Stored, Upload

T = TypeVar("T")


class Fault(StrEnum):
    """What happens to one operation."""

    LOST = "fails and never lands"
    REFUSED = "is answered AccessDenied"
    UNHEARD = "lands, but its answer is lost"
    LATE = "fails, and lands when `land` is called: after its successors (a read: is lost)"
    HANG = "waits for go() before it lands"
    DELAYED = "lands, and waits for go() before it is answered"


@dataclass(eq=False)
class Operation:
    """One call of the store. ``landed`` counts all landings of the store, from 1; 0: it did not."""

    name: str
    key: str
    fault: Fault | None = None
    landed: int = 0
    answered: bool = False
    _gate: "asyncio.Future[Fault | None] | None" = field(default=None, repr=False)

    @property
    def writes(self) -> bool:
        """Whether it changes the store when it lands."""
        return self.name.startswith(("put", "delete", "abort"))

    @property
    def waiting(self) -> bool:
        """Whether it waits for `go`."""
        return self._gate is not None and not self._gate.done()

    def go(self, fault: Fault | None = None) -> None:
        """Let a waiting operation go on, to this fault instead or without any."""
        assert self._gate is not None, "only an operation that waits can go on"
        self._gate.set_result(fault)

    async def pause(self) -> Fault | None:
        """Wait for `go`."""
        self._gate = asyncio.get_running_loop().create_future()
        return await self._gate


Script = Callable[[Operation], Fault | None]


def nothing(operation: Operation) -> Fault | None:
    """No fault at all."""
    return None


def once(name: str, fault: Fault, part: str = "", *, skip: int = 0) -> Script:
    """The fault for one operation: of this name, with this part in its key, after ``skip`` such."""
    left = skip

    def script(operation: Operation) -> Fault | None:
        nonlocal left
        if operation.name != name or part not in operation.key:
            return None
        left -= 1
        return fault if left == -1 else None

    return script


def seeded(
    seed: int,
    rate: float,
    faults: Sequence[Fault] = (Fault.LOST, Fault.REFUSED, Fault.UNHEARD, Fault.LATE),
) -> Script:
    """Random faults for this share of all operations, the same ones for the same seed."""
    chance = random.Random(seed)

    def script(operation: Operation) -> Fault | None:
        return chance.choice(faults) if chance.random() < rate else None

    return script


class FaultyStore:
    """Passes everything on to ``store``, as the script allows."""

    def __init__(self, store: ObjectStore, script: Script = nothing) -> None:
        self.store = store
        self.script = script
        self.down = False
        self.history: list[Operation] = []
        self._landings = 0
        self._late: list[tuple[Operation, Callable[[], Awaitable[object]]]] = []

    @property
    def waiting(self) -> list[Operation]:
        """Operations that wait for their go(), in the order of their calls."""
        return [operation for operation in self.history if operation.waiting]

    @property
    def late(self) -> list[Operation]:
        """Writes that failed and have not landed yet, in the order of their calls."""
        return [operation for operation, _ in self._late]

    async def land(self, operation: Operation | None = None) -> None:
        """Let one late write land, or all, however long it is since it failed."""
        for entry in [each for each in self._late if operation in (None, each[0])]:
            self._late.remove(entry)
            await self._perform(*entry)

    async def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        return await self._pass(Operation("get", key), lambda: self.store.get(key))

    async def put(self, key: str, data: bytes) -> None:
        """See ObjectStore.put."""
        await self._pass(Operation("put", key), lambda: self.store.put(key, data))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """See ObjectStore.put_if_absent."""
        operation = Operation("put_if_absent", key)
        return await self._pass(operation, lambda: self.store.put_if_absent(key, data))

    async def list(self, prefix: str, after: str = "") -> list[str]:
        """See ObjectStore.list."""
        return await self._pass(Operation("list", prefix), lambda: self.store.list(prefix, after))

    async def page(self, prefix: str, after: str = "") -> Sequence[Stored]:
        """See ObjectStore.page."""
        return await self._pass(Operation("page", prefix), lambda: self.store.page(prefix, after))

    async def delete(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete; the history has the first key."""
        operation = Operation("delete", next(iter(keys), ""))
        await self._pass(operation, lambda: self.store.delete(keys))

    async def uploads(self, prefix: str) -> Sequence[Upload]:
        """See ObjectStore.uploads."""
        return await self._pass(Operation("uploads", prefix), lambda: self.store.uploads(prefix))

    async def abort(self, upload: Upload) -> None:
        """See ObjectStore.abort."""
        await self._pass(Operation("abort", upload.key), lambda: self.store.abort(upload))

    async def close(self) -> None:
        """See ObjectStore.close."""
        await self.store.close()

    async def _pass(self, operation: Operation, work: Callable[[], Awaitable[T]]) -> T:
        self.history.append(operation)
        fault = Fault.LOST if self.down else self.script(operation)
        if fault is Fault.HANG:
            fault = await operation.pause()
        operation.fault = fault
        if fault is Fault.LATE and operation.writes:
            self._late.append((operation, work))
        if fault in (Fault.LOST, Fault.LATE, Fault.REFUSED):
            raise _error(fault)
        result = await self._perform(operation, work)
        if fault is Fault.DELAYED:
            fault = operation.fault = await operation.pause()
        if fault is not None:
            raise _error(fault)
        operation.answered = True
        return result

    async def _perform(self, operation: Operation, work: Callable[[], Awaitable[T]]) -> T:
        result = await work()
        self._landings += 1
        operation.landed = self._landings
        return result


def _error(fault: Fault) -> StoreError:
    if fault is Fault.REFUSED:
        return AccessDenied("the store refuses the keys (injected)")
    return Unreachable("the store does not answer (injected)")
