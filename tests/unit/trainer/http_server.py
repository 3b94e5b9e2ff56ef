"""A small HTTP(S) server in a thread, for doubles that a real client talks to."""

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """One request: ``path`` with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to answer; with ``torn_after`` the connection ends after so many bytes of the body."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    torn_after: int | None = None


class Behaviour(Protocol):
    """What the server does with a request; None closes the connection without an answer."""

    def __call__(self, request: Request) -> Answer | None: ...


class Server:
    """Listens on a free port of the loopback until it is stopped."""

    def __init__(self, behaviour: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self._server = _ThreadingServer(("127.0.0.1", 0), _handler(behaviour))
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port; requests under way end first."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _ThreadingServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is part of the tests."""


class _Lines:
    """A request's bytes; ``last`` is the line that was read last."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.last = b""

    def readline(self, size: int = -1) -> bytes:
        """See io.BufferedIOBase."""
        self.last = self._file.readline(size)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _handler(behaviour: Behaviour) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.rfile: Any = _Lines(self.rfile)

        def handle_any(self) -> None:
            if self.rfile.last.strip():  # Python takes a head that broke off for a whole one
                self.close_connection = True
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:  # the client is gone, or the link to it
                self.close_connection = True
                return
            answer = behaviour(Request(self.command, self.path, dict(self.headers), body))
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: answer.torn_after])
            self.close_connection |= answer.torn_after is not None

        do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    return Handler
