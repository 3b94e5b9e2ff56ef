"""MinioStore against a server that misbehaves on demand; the real MinIO is in tests/integration."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from itertools import count

import pytest

from tests.unit.store.conformance import Conformance
from tests.unit.store.s3_server import S3Server, answer, answer_error, s3_server
from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.errors import (
    AccessDenied,
    BadLocation,
    BucketMissing,
    NotFound,
    StoreError,
    Unreachable,
)
from tune_operator.store.location import Endpoint
from tune_operator.store.minio_store import MinioStore
from tune_operator.store.object_store import ObjectStore, Upload
from tune_operator.store.transport import Limits

KEYS = StaticCredentials("the-access-key", "the-secret-key", "the-session-token")
PATIENT = Limits(connect=2.0, read=10.0, request=10.0, attempts=3, pause=0.01, size=100_000)
QUICK = replace(PATIENT, connect=0.2, read=0.5, request=0.5)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
async def store(server: S3Server) -> AsyncIterator[MinioStore]:
    opened = MinioStore(Endpoint.parse(server.url), "us-east-1", "bucket", KEYS, QUICK)
    yield opened
    await opened.close()


@pytest.fixture
async def patient(server: S3Server) -> AsyncIterator[MinioStore]:
    """For what is not about time: a busy machine takes its own."""
    opened = MinioStore(Endpoint.parse(server.url), "us-east-1", "bucket", KEYS, PATIENT)
    yield opened
    await opened.close()


class TestConformance(Conformance):
    @pytest.fixture
    async def store(self, server: S3Server) -> AsyncIterator[ObjectStore]:
        self.server = server
        opened = MinioStore(Endpoint.parse(server.url), "us-east-1", "bucket", KEYS)
        yield opened
        await opened.close()

    async def begin(self, store: ObjectStore, key: str) -> Upload:
        upload = Upload(key, f"upload-{len(self.server.uploads)}")
        self.server.uploads[upload.id] = key
        return upload

    async def test_uploads_are_found_where_a_prefix_is_taken_for_a_key(
        self, store: ObjectStore
    ) -> None:
        self.server.prefixes_of_uploads = False
        await self.test_uploads_under_way_are_found_and_ended(store)


async def test_who_may_not_list_the_uploads_of_the_bucket_sees_none(
    patient: MinioStore, server: S3Server
) -> None:
    def refuse(handler: BaseHTTPRequestHandler) -> bool:
        if "prefix=&" not in handler.path:
            return False
        answer_error(handler, 403, "AccessDenied")
        return True

    server.fault = refuse
    assert await patient.uploads("t/") == []


async def test_an_object_that_may_not_be_deleted_is_an_error_with_its_name(
    patient: MinioStore, server: S3Server
) -> None:
    server.objects.update({"a": b"", "b": b"", "c": b""})
    server.undeletable = "b"
    with pytest.raises(AccessDenied, match="refuses access to s3://bucket/b"):
        await patient.delete(["a", "b", "c"])
    assert server.objects.keys() == {"b"}


class TestServersWithoutConditionalWrites:
    @pytest.fixture(params=["header ignored", "header not implemented"], autouse=True)
    def old(self, server: S3Server, request: pytest.FixtureRequest) -> None:
        server.conditional_writes = False

        def not_implemented(handler: BaseHTTPRequestHandler) -> bool:
            if handler.headers["If-None-Match"]:
                answer_error(handler, 501, "NotImplemented")
                return True
            return False

        if request.param == "header not implemented":
            server.fault = not_implemented

    async def test_an_object_that_is_there_is_not_overwritten(
        self, patient: MinioStore, server: S3Server
    ) -> None:
        assert await patient.put_if_absent("k", b"first") is True
        assert await patient.put_if_absent("k", b"second") is False
        assert server.objects["k"] == b"first"

    async def test_who_was_overwritten_meanwhile_learns_it(
        self, patient: MinioStore, server: S3Server
    ) -> None:
        fault = server.fault

        def overtaken(handler: BaseHTTPRequestHandler) -> bool:
            if fault(handler):
                return True
            if handler.command == "PUT":
                server.objects["k"] = b"the other writer, a moment later"
                answer(handler, 200, b"")
                return True
            return False

        server.fault = overtaken
        assert await patient.put_if_absent("k", b"mine") is False


class TestLostAnswers:
    async def test_a_write_whose_answer_was_lost_is_recognised_as_ours(
        self, store: MinioStore, server: S3Server
    ) -> None:
        def lose_answer(handler: BaseHTTPRequestHandler) -> bool:
            if handler.command == "PUT" and "k" not in server.objects:
                server.objects["k"] = b"mine"
                handler.close_connection = True
                return True
            return False

        server.fault = lose_answer
        assert await store.put_if_absent("k", b"mine") is True

    async def test_a_write_without_any_answer_is_read_back(
        self, store: MinioStore, server: S3Server
    ) -> None:
        def commit_and_hang(handler: BaseHTTPRequestHandler) -> bool:
            if handler.command == "PUT":
                server.objects["k"] = b"mine"
                server.released.wait(30)
                return True
            return False

        server.fault = commit_and_hang
        assert await store.put_if_absent("k", b"mine") is True

    async def test_a_write_that_did_not_arrive_is_an_error_not_a_conflict(
        self, store: MinioStore, server: S3Server
    ) -> None:
        def refuse_writes(handler: BaseHTTPRequestHandler) -> bool:
            if handler.command == "PUT":
                answer_error(handler, 503, "SlowDown")
                return True
            return False

        server.fault = refuse_writes
        with pytest.raises(Unreachable):
            await store.put_if_absent("k", b"mine")

    async def test_a_conflict_of_writers_at_once_is_tried_again_by_the_caller(
        self, store: MinioStore, server: S3Server
    ) -> None:
        def conflict(handler: BaseHTTPRequestHandler) -> bool:
            if handler.command == "PUT":
                answer_error(handler, 409, "ConditionalRequestConflict")
                return True
            return False

        server.fault = conflict
        with pytest.raises(Unreachable, match="try again"):
            await store.put_if_absent("k", b"mine")

    async def test_a_busy_server_is_asked_again(self, store: MinioStore, server: S3Server) -> None:
        server.objects["k"] = b"data"
        calls = count()

        def busy_twice(handler: BaseHTTPRequestHandler) -> bool:
            if next(calls) < 2:
                answer_error(handler, 503, "SlowDown")
                return True
            return False

        server.fault = busy_twice
        assert await store.get("k") == b"data"
        assert server.requests == ["GET k"] * 3


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        (404, "NoSuchBucket", BucketMissing, "has no bucket 'bucket'; create it"),
        (403, "AccessDenied", AccessDenied, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (403, "InvalidAccessKeyId", AccessDenied, "check AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", AccessDenied, "check AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", AccessDenied, "expired"),
        (403, "RequestTimeTooSkewed", AccessDenied, "clock"),
        (403, "", AccessDenied, "refuses access"),
        (400, "AuthorizationHeaderMalformed", BadLocation, "storage.region"),
        (301, "PermanentRedirect", BadLocation, "storage.region"),
        (503, "SlowDown", Unreachable, "healthy"),
        (500, "InternalError", Unreachable, "healthy"),
        (429, "TooManyRequests", Unreachable, "healthy"),
        (418, "<b>the-secret-key", StoreError, "418"),
    ],
)
async def test_every_refusal_has_its_error_and_remedy(
    store: MinioStore, server: S3Server, status: int, code: str, error: type, says: str
) -> None:
    def refuse(handler: BaseHTTPRequestHandler) -> bool:
        answer_error(handler, status, code)
        return True

    server.fault = refuse
    for call in (store.get("k"), store.put("k", b""), store.list("k")):
        with pytest.raises(StoreError) as caught:
            await call
        assert type(caught.value) is error
        assert says in caught.value.message
        assert "the-secret-key" not in caught.value.message
        assert "secret of the server" not in caught.value.message


class TestUnreachable:
    async def test_a_closed_port_is_named(self) -> None:
        with s3_server() as gone:
            url = gone.url
        store = MinioStore(Endpoint.parse(url), "us-east-1", "bucket", KEYS, QUICK)
        with pytest.raises(Unreachable, match=f"{url} refuses connections"):
            await store.get("k")
        await store.close()

    async def test_a_host_without_address_is_named(self) -> None:
        endpoint = Endpoint.parse("http://nowhere.invalid:9000")
        store = MinioStore(endpoint, "us-east-1", "bucket", KEYS, Limits(pause=0.01))
        with pytest.raises(Unreachable, match="does not resolve"):
            await store.get("k")
        await store.close()

    async def test_a_server_that_never_answers(self, store: MinioStore, server: S3Server) -> None:
        def hang(handler: BaseHTTPRequestHandler) -> bool:
            server.released.wait(30)
            return True

        server.fault = hang
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable, match="does not answer in time"):
            await store.get("k")
        assert asyncio.get_running_loop().time() - started < 3

    async def test_a_server_that_drips(self, store: MinioStore, server: S3Server) -> None:
        def drip(handler: BaseHTTPRequestHandler) -> bool:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000")
            handler.end_headers()
            while not server.released.wait(0.05):
                handler.wfile.write(b"x")
            return True

        server.fault = drip
        with pytest.raises(Unreachable, match="does not answer in time"):
            await store.get("k")

    async def test_more_requests_than_threads_all_end_in_time(
        self, store: MinioStore, server: S3Server
    ) -> None:
        def hang(handler: BaseHTTPRequestHandler) -> bool:
            server.released.wait(30)
            return True

        server.fault = hang
        started = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(store.get("k") for _ in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {Unreachable}
        assert asyncio.get_running_loop().time() - started < 5

    async def test_tls_to_a_plain_port(self, server: S3Server) -> None:
        endpoint = Endpoint.parse(server.url.replace("http://", "https://"))
        store = MinioStore(endpoint, "us-east-1", "bucket", KEYS, QUICK)
        with pytest.raises(Unreachable, match="no TLS connection"):
            await store.get("k")
        await store.close()

    async def test_something_that_is_no_s3_server(
        self, store: MinioStore, server: S3Server
    ) -> None:
        def page(handler: BaseHTTPRequestHandler) -> bool:
            answer(handler, 404, b"<html>secret of the server</html>", "text/html")
            return True

        server.fault = page
        with pytest.raises(Unreachable, match="does not answer like an S3 server") as caught:
            await store.get("k")
        assert "secret" not in caught.value.message


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 2003])
async def test_pages_of_a_list_are_put_together(
    store: MinioStore, server: S3Server, count: int
) -> None:
    server.objects = {f"{number:05d}": b"" for number in range(count)}
    assert await store.list("") == sorted(server.objects)


class TestHostileServers:
    async def test_an_object_beyond_the_limit_is_not_read(
        self, store: MinioStore, server: S3Server
    ) -> None:
        server.objects["k"] = bytes(QUICK.size + 1)
        with pytest.raises(StoreError, match="more than 100000 bytes"):
            await store.get("k")

    async def test_a_cut_object_is_an_error(self, store: MinioStore, server: S3Server) -> None:
        def cut(handler: BaseHTTPRequestHandler) -> bool:
            handler.send_response(200)
            handler.send_header("Content-Length", "10")
            handler.end_headers()
            handler.wfile.write(b"half")
            handler.close_connection = True
            return True

        server.fault = cut
        with pytest.raises(Unreachable, match="broke the connection"):
            await store.get("k")

    async def test_a_redirect_is_not_followed(self, store: MinioStore, server: S3Server) -> None:
        server.objects["elsewhere"] = b"data of another host"

        def redirect(handler: BaseHTTPRequestHandler) -> bool:
            if handler.path.startswith("/bucket/k"):
                answer(handler, 307, b"", Location=f"{server.url}/bucket/elsewhere")
                return True
            return False

        server.fault = redirect
        with pytest.raises(StoreError):
            await store.get("k")
        assert set(server.requests) == {"GET k"}

    async def test_a_compressed_object_stays_as_it_is(
        self, store: MinioStore, server: S3Server
    ) -> None:
        def compressed(handler: BaseHTTPRequestHandler) -> bool:
            answer(handler, 200, b"not really gzip", **{"Content-Encoding": "gzip"})
            return True

        server.fault = compressed
        assert await store.get("k") == b"not really gzip"

    async def test_a_list_that_goes_round_in_circles_ends(
        self, store: MinioStore, server: S3Server
    ) -> None:
        items = "".join(f"<Contents><Key>k{n:04d}</Key></Contents>" for n in range(1000))
        body = f"<ListBucketResult><Name>bucket</Name>{items}<IsTruncated>true</IsTruncated>"

        def circle(handler: BaseHTTPRequestHandler) -> bool:
            answer(handler, 200, f"{body}</ListBucketResult>".encode())
            return True

        server.fault = circle
        with pytest.raises(StoreError, match="out of order"):
            await store.list("k")


async def test_the_event_loop_runs_on_while_the_store_works(
    store: MinioStore, server: S3Server
) -> None:
    server.objects["k"] = b"data"
    loop, reached, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def wait_for_the_loop(handler: BaseHTTPRequestHandler) -> bool:
        loop.call_soon_threadsafe(reached.set)
        return not go.wait(30)

    server.fault = wait_for_the_loop
    request = asyncio.ensure_future(store.get("k"))
    await reached.wait()
    go.set()  # only a loop that is not blocked by the request gets here
    assert await request == b"data"


async def test_region_and_session_token_go_along_without_a_request_of_their_own(
    server: S3Server,
) -> None:
    seen: list[str] = []

    def look(handler: BaseHTTPRequestHandler) -> bool:
        seen.append(f"{handler.path} {handler.headers}")
        return False

    server.fault = look
    server.objects["k"] = b""
    store = MinioStore(Endpoint.parse(server.url), "eu-north-1", "bucket", KEYS, QUICK)
    await store.get("k")
    await store.put("k", b"")
    await store.close()
    assert len(seen) == 2
    assert all("eu-north-1" in request and "the-session-token" in request for request in seen)
    assert not any("the-secret-key" in request for request in seen)


async def test_closing_while_a_request_hangs_does_not_wait_for_it(
    store: MinioStore, server: S3Server
) -> None:
    loop, reached = asyncio.get_running_loop(), asyncio.Event()

    def hang(handler: BaseHTTPRequestHandler) -> bool:
        loop.call_soon_threadsafe(reached.set)
        server.released.wait(30)
        return True

    server.fault = hang
    request = asyncio.ensure_future(store.get("k"))
    await reached.wait()
    await store.close()
    with pytest.raises(StoreError):
        await request


async def test_an_absent_object_is_told_apart_from_an_absent_bucket(
    store: MinioStore, server: S3Server
) -> None:
    with pytest.raises(NotFound):
        await store.get("k")

    def no_bucket(handler: BaseHTTPRequestHandler) -> bool:
        answer_error(handler, 404, "NoSuchBucket")
        return True

    server.fault = no_bucket
    with pytest.raises(BucketMissing):
        await store.put_if_absent("k", b"")
