"""A TCP link to the API server that a test can silence or cut, as networks do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from kubernetes.aio.client import Configuration

from tests.polling import eventually
from tune_operator.kube import credentials
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.resources import Resource

ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CHUNK = 1 << 16


class Link:
    """Forwards bytes both ways while `open` is set; holds them back while it is not."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.open = asyncio.Event()
        self.open.set()
        self.refusing = False
        self.connections = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the client."""
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._writers.add(sink)
            pump = asyncio.ensure_future(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self.open.wait()
                sink.write(data)
                await sink.drain()
        self._writers.discard(sink)
        sink.close()

    def silence(self) -> None:
        """Connections stay, nothing gets through any more: neither data nor an end."""
        self.open.clear()

    def refuse(self) -> None:
        """Break all connections, and every new one at once."""
        self.refusing = True
        self.cut()

    def restore(self) -> None:
        """Let everything through again, what was held back included."""
        self.refusing = False
        self.open.set()

    def cut(self) -> None:
        """Break all connections; new ones work."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """End all that still runs."""
        self.cut()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)


@asynccontextmanager
async def link_to(url: str) -> AsyncIterator[tuple[Link, str]]:
    """A link to a server, and its own ``host:port``."""
    target = urlsplit(url)
    assert target.hostname
    assert target.port
    link = Link(target.hostname, target.port)
    server = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    try:
        yield link, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await link.close()
        await server.wait_closed()


@asynccontextmanager
async def linked(**options: Any) -> AsyncIterator[tuple[Link, Kube]]:
    """A client whose every connection goes through a link of its own."""
    configuration = Configuration()
    await credentials.load(configuration)
    async with link_to(configuration.host) as (link, address):
        configuration.host = f"https://{address}"
        kube = Kube(configuration, **options)
        try:
            yield link, kube
        finally:
            await kube.close()


async def account_ready(kube: Kube, namespace: str) -> None:
    """Wait for the default service account: without it no Pod is admitted."""

    async def look() -> dict[str, Any] | None:
        with contextlib.suppress(NotFound):
            return await kube.get(ACCOUNTS, namespace, "default")
        return None

    async def explain() -> str:
        return "the service account controller has not made it"

    await eventually(look, "the default service account", 20, explain)


def attempt_pod(
    namespace: str, name: str, labels: Mapping[str, str], **meta: Any
) -> dict[str, Any]:
    """A Pod as small as the API server lets it be."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": dict(labels), **meta},
        "spec": {
            "containers": [{"name": "trainer", "image": "dev.local/pause:dev"}],
            "terminationGracePeriodSeconds": 5,
        },
    }
