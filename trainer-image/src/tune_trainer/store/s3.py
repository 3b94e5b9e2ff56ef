"""S3 over urllib3; minio-py signs the URLs.

minio-py's own transfers copy every part, hash it twice and hide what they retry. A signed URL and a
plain request leave sizes, time-outs and conditional writes to us.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import certifi
import urllib3
from minio import Minio
from urllib3.exceptions import HTTPError

from tune_trainer.store.base import Chunk, KeysRefused, NotFound, Unavailable

CONNECTIONS = 8
SIGNATURE_LIFETIME = timedelta(hours=1)
TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)
SLICE = 256 * 1024
"""Bytes per send: a socket's time-out covers one send, so slow links need small ones."""

DEFAULT_REGION = "us-east-1"

KEYS_REFUSED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
)
"""Codes that say who we are is in doubt, not what we may do."""

_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


@dataclass(frozen=True)
class Credentials:
    """Keys of one identity; ``session_token`` only for temporary ones."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class S3Store:
    """A bucket of an S3 server; see ``base.Store``. Safe to use from several threads."""

    def __init__(self, endpoint: str, region: str, bucket: str, credentials: Credentials) -> None:
        """``endpoint`` is a URL such as ``https://minio.storage.svc:9000``; raises ValueError."""
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("expected http:// or https:// and a host")
        self._where = f"{endpoint}/{bucket}"
        self._bucket = bucket
        self._pool = _pool(secure=parts.scheme == "https")
        self._signer = Minio(
            endpoint=parts.netloc,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            session_token=credentials.session_token,
            secure=parts.scheme == "https",
            region=region or DEFAULT_REGION,  # left empty, minio-py would ask the server for it
            http_client=self._pool,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def get(self, key: str) -> bytes:
        return self._need(self.request("GET", key), key).body

    def get_range(self, key: str, start: int, length: int) -> Chunk:
        wanted = {"Range": f"bytes={start}-{start + length - 1}"}
        answer = self.request("GET", key, headers=wanted)
        if answer.status == 416:
            return Chunk(b"", _total(answer))
        self._need(answer, key)
        return Chunk(answer.body, _total(answer) if answer.status == 206 else len(answer.body))

    def put(self, key: str, data: bytes) -> None:
        self._need(self.request("PUT", key, body=data), key)

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
        self,
        method: str,
        key: str,
        *,
        body: bytes = b"",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> _Answer:
        """One signed request; raises Unavailable when there is no answer."""
        url = self._signer.get_presigned_url(
            method, self._bucket, key, SIGNATURE_LIFETIME, extra_query_params=dict(query or {})
        )
        sent = {**(headers or {})}
        if method != "GET":
            sent["Content-Length"] = str(len(body))
        try:
            response = self._pool.request(
                method, url, body=_slices(body) if body else None, headers=sent,
                retries=False, redirect=False, timeout=TIMEOUT,
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            # The URL carries the signature: name the object, not the URL.
            raise Unavailable(f"{self._where}/{key}: {type(error).__name__}") from None
        return _Answer(response.status, response.headers, response.data)

    def _need(self, answer: _Answer, key: str) -> _Answer:
        """The answer if it is a success; else what it means for the caller."""
        if answer.status in {200, 204, 206}:
            return answer
        code = _text(answer.body, "Code")
        # A missing bucket is a 404 too, but says nothing about the object.
        if answer.status == 404 and code in {"", "NoSuchKey"}:
            raise NotFound(f"{self._where}/{key}: no such object")
        refused = KeysRefused if code in KEYS_REFUSED else Unavailable
        raise refused(f"{self._where}/{key}: HTTP {answer.status} {code}".rstrip())


class _Multipart:
    """One multipart upload. An abandoned one is left to the bucket's lifecycle rule."""

    def __init__(self, store: S3Store, key: str, upload: str) -> None:
        self._store = store
        self._key = key
        self._upload = upload
        self._tags: dict[int, str] = {}
        self._lock = threading.Lock()

    def put(self, number: int, data: bytes) -> None:
        query = {"partNumber": str(number), "uploadId": self._upload}
        answer = self._store.request("PUT", self._key, body=data, query=query)
        tag = answer.headers.get("ETag", "")
        if answer.status != 200 or not tag:
            raise Unavailable(f"{self._key} part {number}: HTTP {answer.status}")
        with self._lock:
            self._tags[number] = tag

    def complete(self) -> None:
        root = ET.Element("CompleteMultipartUpload")
        for number, tag in sorted(self._tags.items()):
            part = ET.SubElement(root, "Part")
            ET.SubElement(part, "PartNumber").text = str(number)
            ET.SubElement(part, "ETag").text = tag
        answer = self._store.request(
            "POST", self._key, body=ET.tostring(root), query={"uploadId": self._upload}
        )
        # S3 may answer 200 and put an error into the body.
        if answer.status != 200 or _text(answer.body, "Code"):
            if self._already_complete(answer):
                return
            raise Unavailable(f"{self._key}: multipart upload not completed: HTTP {answer.status}")

    def _already_complete(self, answer: _Answer) -> bool:
        """Whether an earlier try, whose answer was lost, made the object.

        The key belongs to this upload alone, so an object at it is ours.
        """
        if _text(answer.body, "Code") != "NoSuchUpload":
            return False
        try:
            return self._store.get_range(self._key, 0, 1).total > 0
        except NotFound:
            return False


def _pool(*, secure: bool) -> urllib3.PoolManager:
    """Connections that check certificates against the system's and certifi's authorities."""
    context = None
    if secure:
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    return urllib3.PoolManager(
        num_pools=2, maxsize=CONNECTIONS, timeout=TIMEOUT, retries=False, ssl_context=context
    )


def _slices(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), SLICE):
        yield body[start : start + SLICE]


def _total(answer: _Answer) -> int:
    match = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else 0


def _text(body: bytes, name: str) -> str:
    """Text of the first element of this name in an answer, "" when there is none."""
    match = re.search(rf"<{name}>([^<]*)</{name}>", body.decode(errors="replace"))
    return match[1] if match else ""
