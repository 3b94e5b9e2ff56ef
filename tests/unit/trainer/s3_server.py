"""S3 over HTTP on top of the store in memory, for the SDK's client and for child processes."""

import re
import threading
from urllib.parse import parse_qs, unquote, urlsplit

from tests.unit.trainer.http_server import Answer, Request, Server
from tests.unit.trainer.memory_store import MemoryMultipart, MemoryStore
from tune_trainer.store.base import NotFound

BUCKET = "tune-test"


class S3Server:
    """One bucket. ``faults`` are answered first, one per request whose method and key match."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.faults: list[tuple[str, str, Answer | None]] = []
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
        assert "X-Amz-Signature" in query
        with self._lock:
            for fault in self.faults:
                if fault[0] == request.method and re.search(fault[1], key):
                    self.faults.remove(fault)
                    return fault[2]
        if bucket != BUCKET:
            return error(404, "NoSuchBucket")
        match request.method:
            case "GET":
                return self._get(key, request)
            case "PUT":
                return self._put(key, query, request)
            case _:
                return self._post(key, query)

    def _get(self, key: str, request: Request) -> Answer:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        try:
            if not wanted:
                return Answer(200, self.store.get(key))
            start, end = int(wanted[1]), int(wanted[2])
            chunk = self.store.get_range(key, start, end - start + 1)
        except NotFound:
            return error(404, "NoSuchKey")
        if not chunk.data:
            total = {"Content-Range": f"bytes */{chunk.total}"}
            return Answer(416, b"<Code>InvalidRange</Code>", total)
        last = start + len(chunk.data) - 1
        return Answer(206, chunk.data, {"Content-Range": f"bytes {start}-{last}/{chunk.total}"})

    def _put(self, key: str, query: dict[str, str], request: Request) -> Answer:
        if "uploadId" in query:
            number = int(query["partNumber"])
            self._uploads[query["uploadId"]].put(number, request.body)
            return Answer(200, headers={"ETag": f'"{number}"'})
        if request.headers.get("If-None-Match") == "*":
            if not self.store.put_if_absent(key, request.body):
                return error(412, "PreconditionFailed")
        else:
            self.store.put(key, request.body)
        return Answer(200, headers={"ETag": '"1"'})

    def _post(self, key: str, query: dict[str, str]) -> Answer:
        with self._lock:
            if "uploads" in query:
                upload = f"upload-{len(self._uploads)}"
                self._uploads[upload] = self.store.multipart(key)
                return Answer(200, f"<UploadId>{upload}</UploadId>".encode())
            found = self._uploads.pop(query["uploadId"], None)
        if found is None:
            return error(404, "NoSuchUpload")
        found.complete()
        return Answer(200, b"<CompleteMultipartUploadResult/>")


def error(status: int, code: str) -> Answer:
    """An error as S3 writes it."""
    return Answer(status, f"<Error><Code>{code}</Code></Error>".encode())
