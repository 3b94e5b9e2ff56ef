"""HTTP to a server that may be slow, hostile or gone: every answer is bounded in time and in size.

minio-py sends all its requests through this pool manager, so the bounds hold for whatever it does.
"""

import io
import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError

_CHUNK = 64 * 1024
_BUSY = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and counts of one request, retries included; `size` is bytes of an answer's body."""

    connect: float = 3.0
    read: float = 10.0
    request: float = 7.0
    attempts: int = 3
    pause: float = 0.2
    size: int = 16 * 1024 * 1024


class ServerFailure(HTTPError):
    """The server answered 5xx to every attempt."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class AnswerTooLong(HTTPError):
    """The body went on beyond the limit of size."""


class DeadlinePassed(HTTPError):
    """The body went on beyond the limit of time, however steadily it dripped."""


@cache
def _trust() -> ssl.SSLContext:
    """The system's authorities, or those of SSL_CERT_FILE; read once, they cost 20 ms."""
    return ssl.create_default_context()


class BoundedTransport(urllib3.PoolManager):
    """A pool manager that retries within one deadline, reads answers whole and follows no redirect.

    A redirect would carry a tenant's request to a host that no specification names.
    """

    def __init__(self, limits: Limits, connections: int, *, secure: bool) -> None:
        tls: dict[str, Any] = {"ssl_context": _trust()} if secure else {}
        super().__init__(num_pools=1, maxsize=connections, **tls)
        self._limits = limits

    def urlopen(self, method: str, url: str, *_: Any, **kw: Any) -> urllib3.BaseHTTPResponse:
        """One request, tried again when it did not arrive or the server was busy.

        Raises urllib3's exceptions, ServerFailure, AnswerTooLong or DeadlinePassed: all HTTPError.
        """
        deadline = time.monotonic() + self._limits.request
        for attempt in range(1, self._limits.attempts + 1):
            pause = self._limits.pause * 2 ** (attempt - 1)
            last = attempt == self._limits.attempts
            try:
                response = self._once(method, url, deadline, kw)
            except (ConnectTimeoutError, NewConnectionError, ProtocolError):
                if last or time.monotonic() + pause >= deadline:
                    raise
            else:
                if response.status not in _BUSY:
                    return response
                if last or time.monotonic() + pause >= deadline:
                    raise ServerFailure(response.status)
            # A thread of the store's own pool sleeps here, never the event loop.
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self, method: str, url: str, deadline: float, kw: dict[str, Any]
    ) -> urllib3.BaseHTTPResponse:
        left = max(deadline - time.monotonic(), 0.01)
        response = super().urlopen(
            method,
            url,
            redirect=False,
            **{
                **kw,
                "retries": False,
                "preload_content": False,
                "timeout": urllib3.Timeout(
                    connect=min(self._limits.connect, left), read=min(self._limits.read, left)
                ),
            },
        )
        try:
            body = self._read(response, deadline)
        except BaseException:
            # A connection with an unread answer must not serve the next request.
            response.close()
            raise
        response.release_conn()
        return urllib3.HTTPResponse(
            body=io.BytesIO(body),
            headers=response.headers,
            status=response.status,
            reason=response.reason,
            decode_content=False,
            request_method=method,
        )

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """The raw body (no decoding: an object is bytes, and a gzip bomb stays one)."""
        parts: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK, decode_content=False):
            size += len(chunk)
            if size > self._limits.size:
                raise AnswerTooLong(f"more than {self._limits.size} bytes")
            if time.monotonic() > deadline:
                raise DeadlinePassed
            parts.append(chunk)
        return b"".join(parts)
