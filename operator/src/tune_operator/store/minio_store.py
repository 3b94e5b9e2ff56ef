"""MinIO and every other S3 server, behind the interface of the operator.

minio-py is synchronous: each request runs in a small thread pool that belongs to this store, so one
tenant's hanging endpoint holds up neither the event loop nor another tenant.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from typing import ParamSpec, TypeVar

from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.errors import NotFound, StoreError, Unreachable
from tune_operator.store.failures import Target, refusal, timed_out, translate
from tune_operator.store.location import Endpoint
from tune_operator.store.object_store import LIST_LIMIT, OBJECT_LIMIT, PAGE, Stored, Upload
from tune_operator.store.transport import BoundedTransport, Limits

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 4
_UPLOAD_PAGES = 10
_IF_ABSENT = {"If-None-Match": "*"}
# Longer than the 15 minutes that S3 lets clocks differ: the server compares with its own clock.
_SIGNED_FOR = timedelta(hours=1)


class MinioStore:
    """One bucket of one S3 server.

    Reads go through minio-py. Writes go through a signed URL, because minio-py has no public way to
    send `If-None-Match`; the header needs no signature, and one way of writing is enough.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        region: str,
        bucket: str,
        credentials: StaticCredentials,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits(size=OBJECT_LIMIT)
        self._endpoint = endpoint
        self._bucket = bucket
        self._transport = BoundedTransport(self._limits, _THREADS, secure=endpoint.secure)
        # The region is given: minio-py would otherwise ask the server for it first.
        self._client = Minio(
            endpoint.netloc,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            session_token=credentials.session_token,
            secure=endpoint.secure,
            region=region,
            http_client=self._transport,
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"store-{bucket}")
        self._closed = False

    async def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        return await self._run(key, self._get, key)

    async def put(self, key: str, data: bytes) -> None:
        """See ObjectStore.put."""
        status, code = await self._run(key, self._send, key, data, {})
        if status != 200:
            raise refusal(code, status, self._target(key))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """See ObjectStore.put_if_absent.

        Looked for first and read back afterwards: a server that ignores the condition says 200 to
        everything, and a 412 may be the answer to our own write whose first answer was lost.
        """
        held = await self._find(key)
        if held is not None:
            return held == data
        lost: StoreError | None = None
        try:
            status, code = await self._run(key, self._send, key, data, _IF_ABSENT)
            if status == 501:  # servers that know no conditional write
                status, code = await self._run(key, self._send, key, data, {})
            if status not in (200, 409, 412):
                raise refusal(code, status, self._target(key))
        except Unreachable as error:
            lost = error
        held = await self._find(key)
        if held is None:
            raise lost or Unreachable(
                f"{self._target(key).uri}: written by several at once, try again"
            )
        return held == data

    async def list(self, prefix: str, after: str = "") -> list[str]:
        """See ObjectStore.list."""
        keys: list[str] = []
        while True:
            page = await self.page(prefix, keys[-1] if keys else after)
            keys += [stored.key for stored in page]
            if len(page) < PAGE:
                return keys
            if len(keys) > LIST_LIMIT:
                raise StoreError(
                    f"{self._target(prefix).uri}: more than {LIST_LIMIT} objects; not read"
                )

    async def page(self, prefix: str, after: str = "") -> Sequence[Stored]:
        """See ObjectStore.page."""
        page = await self._run(prefix, self._page, prefix, after or None)
        if page and page[0].key <= after:
            raise StoreError(f"{self._endpoint.url} lists {self._target(prefix).uri} out of order")
        return page

    async def delete(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete."""
        if keys:
            refused = await self._run(keys[0], self._delete, keys)
            for code, key in refused:
                status = 403 if code == "AccessDenied" else 400
                raise refusal(code, status, self._target(key))

    async def uploads(self, prefix: str) -> Sequence[Upload]:
        """See ObjectStore.uploads."""
        return await self._run(prefix, self._uploads, prefix)

    async def abort(self, upload: Upload) -> None:
        """See ObjectStore.abort."""
        status, code = await self._run(upload.key, self._abort, upload)
        if status not in (200, 204, 404):
            raise refusal(code, status, self._target(upload.key))

    async def close(self) -> None:
        """See ObjectStore.close. Requests under way end by themselves, within their deadline."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._transport.clear()

    async def _find(self, key: str) -> bytes | None:
        try:
            return await self.get(key)
        except NotFound:
            return None

    async def _run(self, key: str, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        """Runs `work` in a thread of this store; waiting for a thread counts as no answer."""
        target = self._target(key)
        if self._closed:
            raise StoreError(f"{target.uri}: the store was closed")
        loop = asyncio.get_running_loop()
        try:
            # One second more than the thread allows itself, so that its own, better message wins.
            async with asyncio.timeout(self._limits.request + 1):
                return await loop.run_in_executor(self._threads, work, *args)
        except TimeoutError:
            raise timed_out(target) from None
        except (MinioException, HTTPError, OSError) as error:
            # Not chained: the texts of these exceptions hold signed URLs and bodies of answers.
            raise translate(error, target) from None

    def _target(self, key: str) -> Target:
        return Target(self._endpoint.url, self._bucket, key)

    def _get(self, key: str) -> bytes:
        return self._client.get_object(self._bucket, key).data

    def _page(self, prefix: str, after: str | None) -> Sequence[Stored]:
        """At most PAGE objects, and so one request to a server that fills its pages."""
        found = self._client.list_objects(self._bucket, prefix, recursive=True, start_after=after)
        return [Stored(str(item.object_name), item.size or 0) for item in islice(found, PAGE)]

    def _delete(self, keys: Sequence[str]) -> Sequence[tuple[str, str]]:
        """Code and key of each object that could not be deleted."""
        errors = self._client.remove_objects(self._bucket, map(DeleteObject, keys))
        return [
            (error.code, error.name or keys[0]) for error in errors if error.code != "NoSuchKey"
        ]

    def _uploads(self, prefix: str) -> Sequence[Upload]:
        """As S3 lists them. MinIO takes a prefix for a whole key, and lists those of the bucket."""
        if found := self._listed_uploads(prefix, prefix):
            return found
        try:
            return self._listed_uploads("", prefix)
        except S3Error as error:
            if error.code == "AccessDenied":
                return []
            raise

    def _listed_uploads(self, asked: str, prefix: str) -> Sequence[Upload]:
        found = []
        marker = None if asked else prefix
        for _ in range(_UPLOAD_PAGES):
            # minio-py has no public way; the version is pinned, and the suite of stores covers it.
            page = self._client._list_multipart_uploads(  # noqa: SLF001
                self._bucket, prefix=asked, key_marker=marker
            )
            found += [Upload(each.object_name, each.upload_id or "") for each in page.uploads]
            marker = page.next_key_marker
            past = marker and marker > prefix and not marker.startswith(prefix)
            if not page.is_truncated or not marker or past:
                break
        return [upload for upload in found if upload.key.startswith(prefix)]

    def _abort(self, upload: Upload) -> tuple[int, str]:
        url = self._client.get_presigned_url(
            "DELETE", self._bucket, upload.key, _SIGNED_FOR,
            extra_query_params={"uploadId": upload.id},
        )  # fmt: skip
        response = self._transport.urlopen("DELETE", url)
        return response.status, "" if response.status in (200, 204) else _code(response)

    def _send(self, key: str, data: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """PUTs the object; the answer's status and S3 error code ("" on success)."""
        url = self._client.presigned_put_object(self._bucket, key, expires=_SIGNED_FOR)
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        checked = {"Content-MD5": base64.b64encode(digest).decode(), **headers}
        response = self._transport.urlopen("PUT", url, body=data, headers=checked)
        return response.status, "" if response.status == 200 else _code(response)


def _code(response: BaseHTTPResponse) -> str:
    """The S3 error code of an answer; empty when its body is no S3 error."""
    try:
        return S3Error.fromxml(response).code or ""
    except (ValueError, SyntaxError):  # no UTF-8, no XML
        return ""
