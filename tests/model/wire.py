"""What one process has asked API server and store: the test says what becomes of each call.

A call can be carried out and answered, carried out while its answer waits, refused, lost on the
way there or on the way back, or given up by its sender and carried out later all the same. So a
crash, another operator or a node can come in before and after every read and every write.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.model.eventloop import StepLoop
from tune_operator.kube.errors import TooManyRequests, Transient
from tune_operator.kube.transport import Object, Request, Transport
from tune_operator.store.errors import Unreachable
from tune_operator.store.object_store import PAGE, Stored, Upload

if TYPE_CHECKING:
    from tests.model.cluster import ApiServer, Bucket

READS = ("get", "list", "try")


@dataclass(eq=False)
class Call:
    """One request. ``answer`` is the sender's; ``outcome`` is there once it was carried out."""

    what: str
    do: Callable[[], Any]
    answer: asyncio.Future[Any]
    lost: type[Exception]
    outcome: Any = None
    happened: bool = False

    @property
    def writes(self) -> bool:
        """Whether it could change anything."""
        return not self.what.startswith(READS)

    def happen(self) -> None:
        """It arrives and is carried out, once."""
        if self.happened:
            return
        self.happened = True
        try:
            self.outcome = self.do()
        except AssertionError:
            raise  # a promise was broken
        except Exception as refusal:  # noqa: BLE001 - the sender's errors, whatever they are
            self.outcome = refusal

    def reply(self) -> None:
        """Its answer arrives, unless the sender does not wait for it any more."""
        if self.answer.done():
            return
        if isinstance(self.outcome, Exception):
            self.answer.set_exception(self.outcome)
        else:
            self.answer.set_result(self.outcome)

    def fail(self, error: Exception | None = None) -> None:
        """The sender is told that there is no answer, or to come again later."""
        if not self.answer.done():
            self.answer.set_exception(error or self.lost("no answer in time"))


@dataclass
class Wire:
    """All calls and watches of one process, in the order in which they were made."""

    loop: StepLoop
    calls: list[Call] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    dead: bool = False

    async def send(self, what: str, do: Callable[[], Any], lost: type[Exception]) -> Any:
        """Ask, and wait for as long as the test wants."""
        if self.dead:
            raise asyncio.CancelledError
        call = Call(what, do, self.loop.create_future(), lost)
        self.calls.append(call)
        return await call.answer

    def passes(self, call: Call) -> None:
        """Carried out and answered."""
        call.happen()
        self._end(call)
        call.reply()
        self.loop.turn()

    def happens(self, call: Call) -> None:
        """Carried out; the answer is still on its way."""
        call.happen()
        if call.answer.done():
            self._end(call)

    def fails(self, call: Call, *, throttled: bool = False) -> None:
        """It never arrives, or is turned away: then the sender knows that nothing was done."""
        if call.happened:
            return
        self._end(call)
        busy = throttled and call.lost is Transient
        call.fail(TooManyRequests("later", retry_after=1.0) if busy else None)
        self.loop.turn()

    def loses(self, call: Call) -> None:
        """Carried out, and nobody hears of it."""
        call.happen()
        self._end(call)
        call.fail()
        self.loop.turn()

    def hangs(self, call: Call) -> None:
        """Its sender gives it up; it may be carried out later all the same."""
        call.fail()
        if call.happened:
            self._end(call)
        self.loop.turn()

    def drops(self, call: Call) -> None:
        """What its sender gave up never arrives."""
        if call.answer.done():
            self._end(call)

    def cut(self) -> None:
        """The process is dead: what it sent may still arrive, but it hears and sends no more."""
        self.dead = True
        for watch in self.watches:
            watch.open = False

    def _end(self, call: Call) -> None:
        if call in self.calls:
            self.calls.remove(call)


class Watch:
    """The answer to a watch: lines that come when the test lets them. Stands in for aiohttp's."""

    def __init__(self, wire: Wire, server: ApiServer, request: Request) -> None:
        self._wire = wire
        self._server = server
        self.kind = request.kind
        self.after = int((request.query or {})["resourceVersion"])
        self.open = True
        self._lines: deque[bytes | None] = deque()
        self._more = asyncio.Event()
        self.content = self

    def tell(self, *, doubled: bool = False) -> bool:
        """The next event arrives, or arrives twice; False when there is none."""
        event = self._server.next_event(self.kind, self.after)
        if event is None:
            return False
        self.after = event.version
        line = json.dumps({"type": event.type, "object": event.obj}).encode()
        self._push(line, *([line] if doubled else []))
        return True

    def end(self, *, gone: bool) -> None:
        """The server ends it; ``gone``: and cannot go on from where it was."""
        error = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
        self._push(*([json.dumps(error).encode()] if gone else []), None)

    def close(self) -> None:
        """The client does not listen any more."""
        self.open = False
        if self in self._wire.watches:
            self._wire.watches.remove(self)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> bytes:
        while not self._lines:
            self._more.clear()
            await self._more.wait()
        line = self._lines.popleft()
        if line is None:
            raise StopAsyncIteration
        return line

    def _push(self, *lines: bytes | None) -> None:
        self._lines.extend(lines)
        self._more.set()
        self._wire.loop.turn()


class ModelTransport(Transport):
    """The connection of one process to the API server."""

    def __init__(self, wire: Wire, server: ApiServer, who: str) -> None:
        self._wire = wire
        self._server = server
        self._who = who

    async def call(self, request: Request, seconds: float) -> Object:
        """See Transport.call."""

        def do() -> Object:
            assert request.path  # raises Invalid as the real one does
            return self._server.handle(request, self._who)

        dry = "dryRun" in (request.query or {})
        what = f"{'try to ' if dry else ''}{request.verb} {request.target}"
        answer: Object = await self._wire.send(what, do, Transient)
        return answer

    async def send(self, request: Request, limits: aiohttp.ClientTimeout) -> Any:
        """See Transport.send; only watches are sent in this way."""
        if self._wire.dead:
            raise asyncio.CancelledError
        watch = Watch(self._wire, self._server, request)
        self._wire.watches.append(watch)
        return watch


class WireStore:
    """The store as one process sees it; implements `store.object_store.ObjectStore`."""

    def __init__(self, wire: Wire, bucket: Bucket, who: str) -> None:
        self._wire = wire
        self.bucket = bucket
        self._who = who
        self._listed: dict[str, int] = {}

    async def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        found: bytes = await self._ask("get", key, lambda: self.bucket.get(key))
        return found

    async def put(self, key: str, data: bytes) -> None:
        """See ObjectStore.put."""
        await self._ask("put", key, lambda: self.bucket.put(key, data, self._who))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """See ObjectStore.put_if_absent."""

        def do() -> bool:
            return self.bucket.put_if_absent(key, data, self._who)

        done: bool = await self._ask("put", key, do)
        return done

    async def list(self, prefix: str, after: str = "") -> list[str]:
        """See ObjectStore.list."""

        def do() -> list[str]:
            self._listed[prefix] = len(self.bucket.history.segments)
            return self.bucket.list(prefix, after)

        keys: list[str] = await self._ask("list", prefix, do)
        return keys

    async def page(self, prefix: str, after: str = "") -> Sequence[Stored]:
        """See ObjectStore.page."""

        def do() -> list[Stored]:
            return [Stored(key, 1) for key in self.bucket.list(prefix, after)[:PAGE]]

        page: list[Stored] = await self._ask("list", prefix, do)
        return page

    async def delete(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete. The history is told of which time the LIST is that said so."""
        known = dict(self._listed)
        await self._ask("delete", keys[0], lambda: self.bucket.delete(keys, known))

    async def uploads(self, prefix: str) -> Sequence[Upload]:
        """See ObjectStore.uploads; in the model no upload has parts."""
        return ()

    async def abort(self, upload: Upload) -> None:
        """See ObjectStore.abort; nothing in the model aborts."""
        raise NotImplementedError

    async def close(self) -> None:
        """See ObjectStore.close."""

    async def _ask(self, verb: str, key: str, do: Callable[[], Any]) -> Any:
        return await self._wire.send(f"{verb} store {key}", do, Unreachable)
