"""The store's contract in memory and over HTTP, and what S3's errors mean."""

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.unit.trainer.http_server import Answer
from tests.unit.trainer.memory_store import MemoryStore
from tests.unit.trainer.s3_server import BUCKET, S3Server, error
from tests.unit.trainer.store_contract import StoreContract, key
from tests.unit.trainer.wire import Cut, Wire
from tune_trainer.store import s3 as s3_module
from tune_trainer.store.base import NotFound, Store, Unavailable, UploadLost
from tune_trainer.store.s3 import Credentials, S3Store

__all__ = ["key"]  # the contract's fixture

CREDENTIALS = Credentials("an-access-key", "a-secret-key-nobody-may-see", "a-session-token")


@pytest.fixture
def remote(s3: S3Server) -> Iterator[S3Store]:
    store = S3Store(s3.endpoint, "", BUCKET, CREDENTIALS)
    yield store
    store.close()


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestS3Store(StoreContract):
    @pytest.fixture
    def store(self, remote: S3Store) -> Store:
        return remote


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(error(403, "AccessDenied"), id="access-denied"),
        pytest.param(error(500, "InternalError"), id="server-error"),
        pytest.param(error(503, "SlowDown"), id="slow-down"),
        pytest.param(error(404, "NoSuchBucket"), id="no-bucket"),
        pytest.param(error(301, "PermanentRedirect"), id="another-region"),
        pytest.param(None, id="hung-up"),
        pytest.param(Answer(500), id="no-body"),
        pytest.param(Answer(404), id="no-body-404"),
        pytest.param(Answer(404, b"<h1>default backend</h1>"), id="a-proxy-without-a-store"),
    ],
)
@pytest.mark.parametrize("method", ["get", "read_into", "put", "put_if_absent", "multipart"])
def test_trouble_is_never_a_missing_object(
    s3: S3Server, remote: S3Store, method: str, answer: Answer | None
) -> None:
    s3.store.put("t/x", b"there")
    verb = {"get": "GET", "read_into": "GET", "multipart": "POST"}.get(method, "PUT")
    s3.fail(verb, "t/x", answer)
    arguments = {
        "read_into": (0, memoryview(bytearray(1))),
        "put": (b"x",),
        "put_if_absent": (b"x",),
    }.get(method, ())
    with pytest.raises(Unavailable) as caught:
        getattr(remote, method)("t/x", *arguments)
    assert "t/x" in str(caught.value)
    assert "Signature" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_store_that_takes_a_body_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than it may take to connect."""
    monkeypatch.setattr(s3_module, "CONNECT_SECONDS", 0.3)
    body = bytes(16 * 1024 * 1024)  # more than the buffers of both sockets hold

    def take_slowly(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            select.select([], [], [], 1.0)  # how slow it is, not a condition to wait for
            left = len(body) - 100_000
            while left > 0 and (data := connection.recv(1 << 20)):
                left -= len(data)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            while connection.recv(1 << 20):
                """Until the client closes."""

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take_slowly, args=(listener,))
        thread.start()
        store = S3Store(f"http://127.0.0.1:{listener.getsockname()[1]}", "", BUCKET, CREDENTIALS)
        try:
            store.put("t/x", body)
        finally:
            store.close()
            thread.join()


def test_a_head_that_is_cut_at_any_byte_is_no_answer(s3: S3Server) -> None:
    """Also within the length: neither a whole object of no bytes, nor one that was torn."""
    s3.store.put("t/x", b"there it is")
    size = cut_after(s3, 10**6)
    for after in range(size):
        with pytest.raises(Unavailable):
            cut_after(s3, after)


def cut_after(s3: S3Server, after: int) -> int:
    """Read an object of 11 bytes over a link that carries so many of the answer's; its length."""
    wire = Wire(s3.endpoint, iter([Cut(upstream=False, after=after)]))
    store = S3Store(wire.endpoint, "us-east-1", BUCKET, CREDENTIALS)
    try:
        assert store.read_into("t/x", 0, memoryview(bytearray(11))).count == 11
        return wire.carried
    finally:
        store.close()
        wire.stop()


def test_a_refused_connection_is_unavailable() -> None:
    store = S3Store("http://127.0.0.1:1", "", BUCKET, CREDENTIALS)
    with pytest.raises(Unavailable):
        store.get("t/x")
    store.close()


def test_a_conflict_of_conditional_writes_is_no_success(s3: S3Server, remote: S3Store) -> None:
    s3.fail("PUT", "m", error(409, "ConditionalRequestConflict"))
    assert not remote.put_if_absent("m", b"x")


def test_a_completion_whose_answer_was_lost_succeeds(s3: S3Server, remote: S3Store) -> None:
    upload = remote.multipart("big")
    upload.put(1, b"x" * 10)
    upload.complete()
    upload.complete()
    assert s3.store.get("big") == b"x" * 10


def test_an_upload_that_is_gone_is_no_success(s3: S3Server, remote: S3Store) -> None:
    upload = remote.multipart("big")
    upload.put(1, b"x")
    s3.fail("POST", "big", error(404, "NoSuchUpload"))
    with pytest.raises(UploadLost):
        upload.complete()
    with pytest.raises(NotFound):
        remote.get("big")


def test_an_error_in_a_successful_completion_is_seen(s3: S3Server, remote: S3Store) -> None:
    upload = remote.multipart("big")
    upload.put(1, b"x")
    s3.fail("POST", "big", Answer(200, b"<Error><Code>InternalError</Code></Error>"))
    with pytest.raises(Unavailable):
        upload.complete()


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("http://minio.storage.svc:9000", "http://minio.storage.svc:9000/tune-test/"),
        ("https://s3.amazonaws.com", "https://tune-test.s3.eu-west-1.amazonaws.com/"),
    ],
)
def test_a_bucket_is_asked_for_where_it_lies(endpoint: str, base: str) -> None:
    store = S3Store(endpoint, "eu-west-1", BUCKET, CREDENTIALS)
    assert store._base == base
    store.close()


def test_credentials_do_not_show() -> None:
    assert "secret" not in repr(CREDENTIALS)
