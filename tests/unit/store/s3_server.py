"""A small S3 server in a thread, with faults on demand that a real MinIO cannot be made to show.

It speaks enough of the protocol for MinioStore (GET, PUT, ListObjectsV2) and checks no signature.
"""

import hashlib
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000


class S3Server(ThreadingHTTPServer):
    """Objects of one bucket. `fault(handler)` sees each request first; True: it has answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.conditional_writes = True
        self.requests: list[str] = []
        self.fault: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def do_GET(self) -> None:
        self.server.requests.append(f"GET {self.key}")
        if self.server.fault(self):
            return
        if not self.key:
            self._list()
            return
        data = self.server.objects.get(self.key)
        if data is None:
            answer_error(self, 404, "NoSuchKey")
        else:
            answer(self, 200, data)

    def do_PUT(self) -> None:
        self.server.requests.append(f"PUT {self.key}")
        data = self.rfile.read(int(self.headers["Content-Length"]))
        digest = b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        if self.headers["Content-MD5"] != digest:
            answer_error(self, 400, "BadDigest")
            return
        if self.server.fault(self):
            return
        with self.server.lock:
            conditional = self.server.conditional_writes and self.headers["If-None-Match"] == "*"
            taken = conditional and self.key in self.server.objects
            if not taken:
                self.server.objects[self.key] = data
        if taken:
            answer_error(self, 412, "PreconditionFailed")
        else:
            answer(self, 200, b"")

    def _list(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        prefix = query.get("prefix", [""])[0]
        keys = sorted(k for k in self.server.objects if k.startswith(prefix) and k > after)
        page = keys[:PAGE]
        more = len(keys) > len(page)
        items = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        answer(
            self,
            200,
            f"<ListBucketResult><Name>bucket</Name>{items}{token}"
            f"<IsTruncated>{str(more).lower()}</IsTruncated></ListBucketResult>".encode(),
        )


def answer(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    content_type: str = "application/xml",
    **headers: str,
) -> None:
    """Sends a whole answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", content_type)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def answer_error(handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
    """Sends an S3 error document."""
    body = f"<Error><Code>{escape(code)}</Code><Message>secret of the server</Message></Error>"
    answer(handler, status, body.encode())


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server; hanging requests are let go at the end."""
    server = S3Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
