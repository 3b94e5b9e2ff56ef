"""S3 over HTTP on top of the store in memory, for the SDK's client and for child processes."""

import hashlib
import re
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

from tests.unit.trainer.http_server import Answer, Request, Server
from tests.unit.trainer.memory_store import MemoryMultipart, MemoryStore
from tune_trainer.store.base import NotFound, UploadLost

BUCKET = "tune-test"


class S3Server:
    """One bucket. ``faults`` are answered first, one per request whose method and key match."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.faults: list[tuple[str, str, Answer | None]] = []
        self.intercept: Callable[[Request, Callable[[], Answer]], Answer | None] | None = None
        """Gets each request that is well-formed, and what carries it out."""
        self.conditional = True
        """Whether ``If-None-Match`` is honoured."""
        self._uploads: dict[str, MemoryMultipart] = {}
        self._lock = threading.Lock()
        self._server = Server(self._behave)
        self.endpoint = self._server.url

    def stop(self) -> None:
        self._server.stop()

    def fail(self, method: str, pattern: str, answer: Answer | None, times: int = 1) -> None:
        """Answer the next requests with this method whose key matches so; None hangs up."""
        self.faults += [(method, pattern, answer)] * times

    def _behave(self, request: Request) -> Answer | None:
        parts = urlsplit(request.path)
        _, bucket, key = unquote(parts.path).split("/", 2)
        query = {
            name: values[0]
            for name, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
        with self._lock:
            for fault in self.faults:
                if fault[0] == request.method and re.search(fault[1], key):
                    self.faults.remove(fault)
                    return fault[2]
        if bucket != BUCKET:
            return error(404, "NoSuchBucket")

        def carry_out() -> Answer:
            try:
                return self._carry_out(request, key, query)
            except UploadLost:
                return error(404, "NoSuchUpload")

        return self.intercept(request, carry_out) if self.intercept else carry_out()

    def _carry_out(self, request: Request, key: str, query: dict[str, str]) -> Answer:
        if hashlib.sha256(request.body).hexdigest() != request.headers["x-amz-content-sha256"]:
            return error(400, "XAmzContentSHA256Mismatch")
        match request.method:
            case "GET":
                return self._get(key, request)
            case "PUT":
                return self._put(key, query, request)
            case "DELETE":
                self._upload(query).abort()
                return Answer(204)
            case _:
                return self._post(key, query)

    def _upload(self, query: dict[str, str]) -> MemoryMultipart:
        with self._lock:
            return self._uploads[query["uploadId"]]

    def _get(self, key: str, request: Request) -> Answer:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        try:
            if not wanted:
                return Answer(200, self.store.get(key))
            start, end = int(wanted[1]), int(wanted[2])
            buffer = memoryview(bytearray(end - start + 1))
            found = self.store.read_into(key, start, buffer)
        except NotFound:
            return error(404, "NoSuchKey")
        if not found.count:
            total = {"Content-Range": f"bytes */{found.total}"}
            return Answer(416, b"<Code>InvalidRange</Code>", total)
        where = f"bytes {start}-{start + found.count - 1}/{found.total}"
        return Answer(206, bytes(buffer[: found.count]), {"Content-Range": where})

    def _put(self, key: str, query: dict[str, str], request: Request) -> Answer:
        if "uploadId" in query:
            number = int(query["partNumber"])
            self._upload(query).put(number, request.body)
            return Answer(200, headers={"ETag": f'"{number}"'})
        if self.conditional and request.headers.get("If-None-Match") == "*":
            if not self.store.put_if_absent(key, request.body):
                return error(412, "PreconditionFailed")
        else:
            self.store.put(key, request.body)
        return Answer(200, headers={"ETag": '"1"'})

    def _post(self, key: str, query: dict[str, str]) -> Answer:
        if "uploads" in query:
            with self._lock:
                upload = f"upload-{len(self._uploads)}"
                self._uploads[upload] = self.store.multipart(key)
            return Answer(200, f"<UploadId>{upload}</UploadId>".encode())
        found = self._upload(query)
        if not found.is_open:  # as S3: a second completion finds no upload
            raise UploadLost(key)
        found.complete()
        return Answer(200, b"<CompleteMultipartUploadResult/>")


def error(status: int, code: str) -> Answer:
    """An error as S3 writes it."""
    return Answer(status, f"<Error><Code>{code}</Code></Error>".encode())
