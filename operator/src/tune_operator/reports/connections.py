"""The listening socket: a bound on connections, and on the time a client may take to say something.

aiohttp limits neither: a client that connects and stays silent would be held for ever.
"""

import asyncio
import ssl

from aiohttp import web

from tune_operator.reports.limits import ReportLimits


class _Refused(asyncio.Protocol):
    """The protocol of a connection beyond the bound: it ends before a byte is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Drops the connection."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class Listener:
    """Accepts TLS connections for an aiohttp server."""

    def __init__(self, server: web.Server, limits: ReportLimits) -> None:
        self._server = server
        self._limits = limits
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._listening: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, also when 0 was asked for."""
        if self._listening is None:
            raise RuntimeError("the listener has not been opened")
        return int(self._listening.sockets[0].getsockname()[1])

    async def open(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Listens; raises OSError when the address cannot be had."""
        self._listening = await asyncio.get_running_loop().create_server(
            self._accept,
            host,
            port,
            ssl=context,
            ssl_handshake_timeout=self._limits.handshake_seconds,
            backlog=512,
        )

    def close(self) -> None:
        """Accepts nothing more; what is connected stays."""
        if self._listening is not None:
            self._listening.close()
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()

    def spoke(self, protocol: asyncio.BaseProtocol) -> None:
        """The first request of a connection is there; from now on aiohttp watches its idle time."""
        timer = self._silent.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    def _accept(self) -> asyncio.BaseProtocol:
        # The second part counts those still in their handshake, and the silent ones twice.
        if len(self._server.connections) + len(self._silent) >= self._limits.connections:
            return _Refused()
        protocol = self._server()
        seconds = self._limits.handshake_seconds + self._limits.header_seconds
        loop = asyncio.get_running_loop()
        self._silent[protocol] = loop.call_later(seconds, self._hang_up, protocol)
        return protocol

    def _hang_up(self, protocol: web.RequestHandler) -> None:
        self._silent.pop(protocol, None)
        protocol.force_close()
