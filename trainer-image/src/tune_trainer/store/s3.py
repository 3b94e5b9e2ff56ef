"""S3 over urllib3; minio-py signs the requests.

minio-py's own transfers copy every part, hash it twice and hide what they retry. Signing alone
leaves sizes, time-outs and conditional writes to us. The signature covers the SHA-256 of the body:
a store refuses a body that was cut or altered on the way.
"""

from __future__ import annotations

import hashlib
import math
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

import certifi
import urllib3
from minio import Minio, signer
from minio.credentials.credentials import Credentials as SigningKeys
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from tune_trainer.store.base import (
    Data,
    Extent,
    KeysRefused,
    Misconfigured,
    NotFound,
    StoreError,
    Unavailable,
    UploadLost,
)

CONNECTIONS = 8
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
"""Longest silence of the store: before its answer, and between two reads or sends."""
SLOWEST = 64 * 1024
"""Bytes per second below which a request is given up, for a store that only drips."""
ABORT_SECONDS = 5.0
SLICE = 256 * 1024
"""Bytes per send: a socket's time-out covers one send, so slow links need small ones."""
READ = 1024 * 1024
"""Bytes per read: they pass through the cache on their way to the buffer."""
LONGEST_ERROR = 64 * 1024

DEFAULT_REGION = "us-east-1"
EMPTY = hashlib.sha256().hexdigest()

KEYS_REFUSED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
)
"""Codes that say who we are is in doubt, not what we may do."""

REMEDIES = {
    "NoSuchBucket": "there is no such bucket: create it, or correct spec.storage.uri",
    "RequestTimeTooSkewed": "the clock of this node and the store's differ too much",
}
"""Codes of what is set up wrongly, and what to do."""

_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


@dataclass(frozen=True)
class Credentials:
    """Keys of one identity; ``session_token`` only for temporary ones."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Answer:
    """``body`` is empty where a buffer took it in; ``count`` says how much that was."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    count: int = 0

    @property
    def code(self) -> str:
        return _text(self.body, "Code")

    @property
    def total(self) -> int:
        """Size of the whole object, of which this is a range; 0 when the store does not say."""
        match = _TOTAL.fullmatch(self.headers.get("Content-Range", ""))
        return int(match[1]) if match else 0


class S3Store:
    """A bucket of an S3 server; see ``base.Store``. Safe to use from several threads."""

    def __init__(
        self, endpoint: str, region: str, bucket: str, credentials: Credentials,
        silence: float = READ_SECONDS,
    ) -> None:  # fmt: skip
        """``endpoint`` is a URL such as ``https://minio.storage.svc:9000``; raises ValueError.

        A request ends after ``silence`` seconds without a byte.
        """
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("expected http:// or https:// and a host")
        self._where = f"{endpoint}/{bucket}"
        self._region = region or DEFAULT_REGION
        self._keys = SigningKeys(
            credentials.access_key, credentials.secret_key, credentials.session_token
        )
        self._silence = silence
        self._pool = _pool(secure=parts.scheme == "https")
        # Amazon's hosts depend on bucket and region, which minio-py knows.
        whole = Minio(
            endpoint=parts.netloc, secure=parts.scheme == "https", region=self._region,
            access_key=credentials.access_key, secret_key=credentials.secret_key,
            http_client=self._pool,
        ).get_presigned_url("GET", bucket, "x")  # fmt: skip
        self._base = whole.partition("?")[0].removesuffix("x")

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def get(self, key: str) -> bytes:
        return self._need(self.request("GET", key), key).body

    def read_into(self, key: str, start: int, buffer: memoryview) -> Extent:
        wanted = {"Range": f"bytes={start}-{start + len(buffer) - 1}"}
        answer = self.request("GET", key, headers=wanted, into=buffer)
        if answer.status == 416:
            return Extent(0, answer.total)
        self._need(answer, key)
        if answer.status != 206 or not answer.total:
            # The whole object instead of a range, or a proxy's own answer.
            raise Unavailable(f"{self._where}/{key}: the store does not say which range it sends")
        return Extent(answer.count, answer.total)

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        self._need(self.request("PUT", key, body=data, sha256=sha256), key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        answer = self.request("PUT", key, body=data, headers={"If-None-Match": "*"})
        if answer.status in {409, 412}:
            return False
        self._need(answer, key)
        return True

    def multipart(self, key: str) -> _Multipart:
        answer = self._need(self.request("POST", key, query={"uploads": ""}), key)
        upload = _text(answer.body, "UploadId")
        if not upload:
            raise Unavailable(f"{self._where}/{key}: the store began no multipart upload")
        return _Multipart(self, key, upload)

    def request(
        self, method: str, key: str, *, body: Data = b"", sha256: str = "",
        query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None,
        into: memoryview | None = None, seconds: float = math.inf,
    ) -> _Answer:  # fmt: skip
        """One signed request; raises Unavailable when there is no whole answer.

        The body of a success goes ``into`` a buffer if there is one.
        """
        url = self._base + quote(key, safe="/~")
        if query:
            url += f"?{urlencode(sorted(query.items()), quote_via=quote, safe='~')}"
        sent = self._signed(method, url, sha256 or (_sha256(body) if body else EMPTY))
        sent.update(headers or {})
        if method not in {"GET", "DELETE"}:
            sent["Content-Length"] = str(len(body))
        seconds = min(seconds, self._silence)
        size = len(body) or len(into or b"")
        deadline = time.monotonic() + seconds + size / SLOWEST
        try:
            response = self._pool.request(
                method, url, body=_slices(body, deadline) if body else None, headers=sent,
                retries=False, redirect=False, preload_content=False, decode_content=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
            )  # fmt: skip
            return _taken_in(response, into, deadline)
        except (HTTPError, OSError) as error:
            raise Unavailable(f"{self._where}/{key}: {_told(error)}") from None

    def _signed(self, method: str, url: str, sha256: str) -> dict[str, str]:
        now = datetime.now(UTC)
        parts = urlsplit(url)
        headers: dict[str, str | list[str] | tuple[str]] = {
            "Host": parts.netloc,
            "x-amz-content-sha256": sha256,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        }
        if self._keys.session_token:
            headers["X-Amz-Security-Token"] = self._keys.session_token
        signed = signer.sign_v4_s3(
            method=method, url=parts, region=self._region, headers=headers,
            credentials=self._keys, content_sha256=sha256, date=now,
        )  # fmt: skip
        return {name: str(value) for name, value in signed.items()}

    def _need(self, answer: _Answer, key: str) -> _Answer:
        """The answer if it is a success; else what it means for the caller."""
        if answer.status in {200, 204, 206}:
            return answer
        raise self.refusal(answer, key)

    def refusal(self, answer: _Answer, key: str) -> StoreError:
        """What an answer that is no success means."""
        where, code = f"{self._where}/{key}", answer.code
        # A missing bucket is a 404 too, as is a proxy that has lost its store.
        if answer.status == 404 and code == "NoSuchKey":
            return NotFound(f"{where}: no such object")
        if code == "NoSuchUpload":
            return UploadLost(f"{where}: the store dropped the multipart upload")
        message = f"{where}: HTTP {answer.status} {code}".rstrip()
        if code in KEYS_REFUSED:
            return KeysRefused(message)
        if code in REMEDIES:
            return Misconfigured(f"{message}: {REMEDIES[code]}")
        return Unavailable(message)


class _Multipart:
    """One multipart upload. One that nobody can abort any more is left to the operator."""

    def __init__(self, store: S3Store, key: str, upload: str) -> None:
        self._store = store
        self._key = key
        self._upload = upload
        self._parts: dict[int, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def put(self, number: int, data: Data, sha256: str = "") -> None:
        query = {"partNumber": str(number), "uploadId": self._upload}
        answer = self._store.request("PUT", self._key, body=data, sha256=sha256, query=query)
        if answer.status != 200:
            raise self._store.refusal(answer, f"{self._key} part {number}")
        tag = answer.headers.get("ETag", "")
        if not tag:
            raise Unavailable(f"{self._key} part {number}: the store gave it no ETag")
        with self._lock:
            self._parts[number] = (tag, len(data))

    def complete(self) -> None:
        root = ET.Element("CompleteMultipartUpload")
        for number, (tag, _) in sorted(self._parts.items()):
            part = ET.SubElement(root, "Part")
            ET.SubElement(part, "PartNumber").text = str(number)
            ET.SubElement(part, "ETag").text = tag
        answer = self._store.request(
            "POST", self._key, body=ET.tostring(root), query={"uploadId": self._upload}
        )
        # S3 may answer 200 and put an error into the body.
        if answer.status == 200 and not answer.code:
            return
        if answer.code == "NoSuchUpload" and self._is_there():
            return
        raise self._store.refusal(answer, self._key)

    def abort(self) -> None:
        self._store.request(
            "DELETE", self._key, query={"uploadId": self._upload}, seconds=ABORT_SECONDS
        )

    def _is_there(self) -> bool:
        """Whether an earlier try, whose answer was lost, made the object.

        The key belongs to this upload alone, so an object at it is ours.
        """
        try:
            found = self._store.read_into(self._key, 0, memoryview(bytearray(1)))
        except NotFound:
            return False
        return found.total == sum(size for _, size in self._parts.values())


def _pool(*, secure: bool) -> urllib3.PoolManager:
    """Connections that check certificates against the system's and certifi's authorities."""
    context = None
    if secure:
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    manager = urllib3.PoolManager(
        num_pools=2, maxsize=CONNECTIONS, retries=False, ssl_context=context
    )
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager


class _Connection(HTTPConnection):
    """urllib3 lets a send take as long as connecting may: seconds, where a store may be slower."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_SECONDS)


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_SECONDS)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _taken_in(
    response: urllib3.BaseHTTPResponse, into: memoryview | None, deadline: float
) -> _Answer:
    """Read the whole answer; raises HTTPError or OSError when it is cut or drips."""
    try:
        status, headers = response.status, response.headers
        length = headers.get("Content-Length", "")
        if status != 204 and not length.isdecimal() and not response.chunked:
            # Cut inside its head, also inside this very line: http.client takes it for a whole one.
            raise ConnectionError("the answer has no length")
        if into is None or status not in {200, 206}:
            bound = None if into is None and status < 300 else LONGEST_ERROR
            body = b"".join(_read(response, deadline, bound))
            return _Answer(status, headers, body)
        count = 0
        for data in _read(response, deadline, len(into)):
            into[count : count + len(data)] = data
            count += len(data)
        return _Answer(status, headers, b"", count)
    finally:
        # Of no effect on a connection whose answer was read to its end: that is in the pool again.
        response.close()


def _read(
    response: urllib3.BaseHTTPResponse, deadline: float, bound: int | None
) -> Iterator[bytes]:
    left = bound
    while left is None or left > 0:
        data = response.read(READ if left is None else min(READ, left))
        if not data:
            return
        yield data
        left = None if left is None else left - len(data)
        _in_time(deadline)


def _slices(body: Data, deadline: float) -> Iterator[Any]:
    """Views of the body; urllib3's types speak of bytes, sockets take either."""
    view = memoryview(body)
    for start in range(0, len(view), SLICE):
        _in_time(deadline)
        yield view[start : start + SLICE]


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError("slower than any link")


def _sha256(body: Data) -> str:
    return hashlib.sha256(body).hexdigest()


def _told(error: Exception) -> str:
    """What happened to a connection, in words of ours: their texts carry addresses of objects."""
    cause = error.__context__ if isinstance(error.__context__, OSError) else None
    return type(error).__name__ + (f" ({type(cause).__name__})" if cause else "")


def _text(body: bytes, name: str) -> str:
    """Text of the first element of this name in an answer, "" when there is none."""
    match = re.search(rf"<{name}>([^<]*)</{name}>", body.decode(errors="replace"))
    return match[1] if match else ""
