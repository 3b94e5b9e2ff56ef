"""A real HTTP server on localhost that misbehaves in the ways an API server can.

It plays back what a test scripted, request by request; behaviour of a healthy API server is tested
against a real one, in tests/integration.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from tune_operator.kube.client import Kube

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class ApiServer:
    """Answers requests from `script` in their order of arrival; hangs when it is used up."""

    script: deque[Answer] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    clients: list[Kube] = field(default_factory=list)

    def then(self, *answers: Answer) -> None:
        self.script.extend(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.seen.append(
            Seen(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(text) if text else None,
            )
        )
        answer = self.script.popleft() if self.script else hang
        return await answer(request)

    def client(self, **options: Any) -> Kube:
        """A client without the credentials of this machine; closed with the server."""
        configuration = Configuration(host=self.url)

        async def keep(configuration: Configuration) -> None:
            """Credentials that cannot be renewed."""

        self.clients.append(Kube(configuration, **{"renew": keep, **options}))
        return self.clients[-1]


@asynccontextmanager
async def running() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        for client in server.clients:
            await client.close()
        await runner.cleanup()


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def break_off(request: web.Request) -> web.StreamResponse:
    """The connection ends without an answer, as when an API server is killed."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def answer(body: Any, code: int = 200, **headers: str) -> Answer:
    async def respond(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=code, headers=named)

    return respond


def raw(text: str, code: int = 200) -> Answer:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=code)

    return respond


def status(code: int, reason: str = "", message: str = "", **details: Any) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


def fail(code: int, reason: str = "", message: str = "", **headers: str) -> Answer:
    return answer(status(code, reason, message), code, **headers)


def stream(*events: tuple[str, dict[str, Any]], then: Answer | None = None) -> Answer:
    """A watch: these events, then a clean end, or silence (`hang`), or a break (`break_off`)."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for kind, item in events:
            line = json.dumps({"type": kind, "object": item}) + "\n"
            await response.write(line.encode())
        if then is not None:
            await then(request)
        return response

    return respond


def pod(name: str, version: int, *, phase: str = "Running", uid: str = "") -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "tune",
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": {"tuneoperator.io/experiment-uid": "e1"},
        },
        "status": {"phase": phase},
    }


def pod_list(version: int, *pods: dict[str, Any], more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(pods)}


def bookmark(version: int) -> tuple[str, dict[str, Any]]:
    return "BOOKMARK", {"metadata": {"resourceVersion": str(version)}}
