"""The proxy of `make chaos`: what it passes on, and what becomes of a request it is to lose."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from aiohttp import web

from tests.chaos import proxy
from tests.chaos.proxy import Mishap, Proxy


class Server:
    """Answers with what it was asked; counts what landed."""

    def __init__(self) -> None:
        self.landed: list[str] = []
        self.came = asyncio.Event()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.landed.append(f"{request.method} {request.raw_path} {await request.text()}")
        self.came.set()
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first\n")
            await asyncio.Event().wait()
        return web.Response(text=request.headers["Host"], headers={"X-Own": "1"}, status=201)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = "http://{}:{}".format(*runner.addresses[0][:2])
    yield made
    await runner.cleanup()


@pytest.fixture
async def front(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.url, None, random.Random(1)).serve() as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def always(monkeypatch: pytest.MonkeyPatch, mishap: Mishap) -> None:
    shares: Mapping[Mishap, float] = {mishap: 1.0}
    monkeypatch.setattr(proxy, "SHARES", shares)


async def test_a_request_passes_as_it_is(
    front: Proxy, server: Server, http: aiohttp.ClientSession
) -> None:
    async with http.put(f"{front.url}/a%2Fb?x=1&y=%20", data="body") as answer:
        assert (answer.status, answer.headers["X-Own"]) == (201, "1")
        # The store's signature covers the host that its client called.
        assert await answer.text() == front.url.removeprefix("http://")
    assert server.landed == ["PUT /a%2Fb?x=1&y=%20 body"]


@pytest.mark.parametrize("mishap", [Mishap.BUSY, Mishap.UNAVAILABLE])
async def test_a_refused_request_does_not_land(
    front: Proxy,
    server: Server,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    mishap: Mishap,
) -> None:
    always(monkeypatch, mishap)
    front.err()
    async with http.post(front.url) as answer:
        assert str(answer.status) == mishap.value
    assert server.landed == []
    assert front.mishaps == {mishap.value: 1}


@pytest.mark.parametrize(
    ("mishap", "landed"), [(Mishap.RESET, 0), (Mishap.ANSWER_LOST, 1)], ids=["before", "after"]
)
async def test_a_reset_comes_before_or_after_it_landed(
    front: Proxy,
    server: Server,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    mishap: Mishap,
    landed: int,
) -> None:
    always(monkeypatch, mishap)
    front.err()
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.post(front.url)
    assert len(server.landed) == landed


async def test_a_late_request_lands_after_its_sender_gave_up(
    front: Proxy, server: Server, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(monkeypatch, Mishap.LATE)
    monkeypatch.setattr(proxy, "LATE_SECONDS", 0.3)
    front.err()
    with pytest.raises(TimeoutError):
        await http.post(front.url, timeout=aiohttp.ClientTimeout(total=0.1))
    assert server.landed == []
    async with asyncio.timeout(5):
        await server.came.wait()


async def test_an_outage_cuts_what_is_open_and_resets_what_comes(
    front: Proxy, server: Server, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{front.url}/?watch=true") as watch:
        assert await watch.content.readline() == b"first\n"
        front.refuse()
        with pytest.raises(aiohttp.ClientError):
            await watch.content.readline()
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.get(front.url)
    front.restore()
    async with http.get(front.url) as answer:
        assert answer.status == 201


async def test_silence_holds_everything_back(
    front: Proxy, server: Server, http: aiohttp.ClientSession
) -> None:
    front.silence()
    waiting = asyncio.ensure_future(http.get(front.url))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    assert server.landed == []
    front.restore()
    async with asyncio.timeout(5), await waiting as answer:
        assert answer.status == 201
