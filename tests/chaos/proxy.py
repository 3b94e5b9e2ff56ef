"""An HTTP proxy in front of a server, which loses, delays and refuses requests as told.

It understands requests, because the worst faults do not happen to bytes: a request that landed and
whose answer was lost, and one that lands long after its sender gave up.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum

import aiohttp
from aiohttp import web
from yarl import URL

BODY_LIMIT = 64 << 20
STALL_SECONDS = 2.0
LATE_SECONDS = 12.0
"""More than the time-out of those who wait for an answer."""

# Of one hop, not of the message.
HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade"})
WATCH = "watch"


class Mishap(StrEnum):
    """What happens to one request."""

    BUSY = "429"
    UNAVAILABLE = "503"
    RESET = "reset before it landed"
    ANSWER_LOST = "landed, answer lost"
    STALLED = "stalled"
    LATE = "landed after its sender gave up"


SHARES: Mapping[Mishap, float] = {
    Mishap.BUSY: 0.08,
    Mishap.UNAVAILABLE: 0.08,
    Mishap.RESET: 0.08,
    Mishap.ANSWER_LOST: 0.12,
    Mishap.STALLED: 0.08,
    Mishap.LATE: 0.02,
}


class Proxy:
    """One server as one client sees it."""

    def __init__(self, target: str, context: ssl.SSLContext | None, chance: random.Random) -> None:
        self._target = target
        self._context = context
        self._chance = chance
        self._open: set[asyncio.Transport] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self._erring = False
        self.url = ""
        self.mishaps: Counter[str] = Counter()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Proxy]:
        """Listen on a port of its own around the block."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self._context or False)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as self._session:
            app = web.Application(client_max_size=BODY_LIMIT)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            try:
                yield self
            finally:
                self.restore()
                self.cut()
                await runner.cleanup()

    def err(self) -> None:
        """From now on some requests meet a mishap."""
        self._erring = True

    def refuse(self) -> None:
        """From now on nothing gets an answer: what is open is cut, what comes is reset."""
        self._refusing = True
        self.cut()

    def silence(self) -> None:
        """From now on nothing gets through; connections stay."""
        self._passing.clear()

    def restore(self) -> None:
        """End all of it."""
        self._erring = self._refusing = False
        self._passing.set()

    def cut(self) -> None:
        """Reset what is open now."""
        for transport in list(self._open):
            transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return web.Response()
        self._open.add(transport)
        try:
            return await self._answer(request)
        finally:
            self._open.discard(transport)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        mishap = self._draw(request)
        if mishap is not None:
            self.mishaps[mishap.value] += 1
        body = await request.read()
        await self._passing.wait()
        match mishap:
            case Mishap.BUSY:
                return _refusal(429, "TooManyRequests")
            case Mishap.UNAVAILABLE:
                return _refusal(503, "ServiceUnavailable")
            case Mishap.RESET:
                return _abort(request)
            case Mishap.STALLED:
                await asyncio.sleep(self._chance.uniform(0.2, STALL_SECONDS))
            case Mishap.LATE:
                await asyncio.sleep(LATE_SECONDS)
        try:
            return await self._forward(request, body, lose=mishap is Mishap.ANSWER_LOST)
        except (aiohttp.ClientError, OSError):
            return _abort(request)  # one of both sides is gone

    def _draw(self, request: web.Request) -> Mishap | None:
        if self._refusing:
            return Mishap.RESET
        # What is watched is no question: it is cut, not refused.
        if not self._erring or WATCH in request.query:
            return None
        drawn = self._chance.random()
        for mishap, share in SHARES.items():
            drawn -= share
            if drawn < 0:
                return mishap
        return None

    async def _forward(
        self, request: web.Request, body: bytes, *, lose: bool
    ) -> web.StreamResponse:
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP]
        url = URL(self._target + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            if lose:
                await answer.read()
                return _abort(request)
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await self._passing.wait()
                await response.write(chunk)
            await response.write_eof()
            return response


def _refusal(status: int, reason: str) -> web.Response:
    """As the API server says it; a store's client reads only the number."""
    document = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    document |= {"reason": reason, "message": "by the proxy of a test"}
    return web.json_response(
        {**document, "code": status}, status=status, headers={"Retry-After": "1"}
    )


def _abort(request: web.Request) -> web.Response:
    """Reset the connection. What is returned here is sent nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
