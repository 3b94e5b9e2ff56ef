"""A small S3 server in a thread, with faults on demand that a real MinIO cannot be made to show.

It speaks enough of the protocol for MinioStore (GET, PUT, ListObjectsV2, DeleteObjects, listing and
aborting multipart uploads) and checks no signature.
"""

import hashlib
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

PAGE = 1000


class S3Server(ThreadingHTTPServer):
    """Objects of one bucket. `fault(handler)` sees each request first; True: it has answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, str] = {}  # key by id
        self.prefixes_of_uploads = True  # MinIO takes a prefix for a whole key
        self.undeletable = ""
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
            (self._list_uploads if "uploads" in self._query else self._list)()
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

    @property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def do_POST(self) -> None:
        self.server.requests.append(f"POST {self.key}")
        data = self.rfile.read(int(self.headers["Content-Length"]))
        document = ET.fromstring(data)  # noqa: S314 - our own
        if self.server.fault(self):
            return
        assert "delete" in self._query
        keys = [found.text or "" for found in document.iterfind(".//{*}Key")]
        refused = [key for key in keys if key == self.server.undeletable]
        for key in set(keys) - {*refused}:
            self.server.objects.pop(key, None)
        errors = "".join(
            f"<Error><Code>AccessDenied</Code><Key>{escape(key)}</Key></Error>" for key in refused
        )
        answer(self, 200, f"<DeleteResult>{errors}</DeleteResult>".encode())

    def do_DELETE(self) -> None:
        self.server.requests.append(f"DELETE {self.key}")
        if self.server.fault(self):
            return
        if self.server.uploads.pop(self._query["uploadId"][0], None) is None:
            answer_error(self, 404, "NoSuchUpload")
        else:
            answer(self, 204, b"")

    def _list_uploads(self) -> None:
        prefix = self._query.get("prefix", [""])[0]
        marker = self._query.get("key-marker", [""])[0]
        by_prefix = self.server.prefixes_of_uploads
        found = [
            (key, upload)
            for upload, key in self.server.uploads.items()
            if (key.startswith(prefix) if by_prefix or not prefix else key == prefix)
            and (key > marker or not by_prefix)
        ]
        items = "".join(
            f"<Upload><Key>{escape(key)}</Key><UploadId>{upload}</UploadId></Upload>"
            for key, upload in sorted(found)
        )
        answer(
            self,
            200,
            f"<ListMultipartUploadsResult>{items}<IsTruncated>false</IsTruncated>"
            "</ListMultipartUploadsResult>".encode(),
        )

    def _list(self) -> None:
        query = self._query
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        prefix = query.get("prefix", [""])[0]
        keys = sorted(k for k in self.server.objects if k.startswith(prefix) and k > after)
        page = keys[:PAGE]
        more = len(keys) > len(page)
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size></Contents>"
            for key in page
        )
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
