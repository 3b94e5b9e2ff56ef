"""A real client over TLS against the real server: what each kind of request is answered."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.polling import eventually
from tests.unit.reports.parts import (
    COMPLETE,
    OTHER_POD,
    POD,
    RESULTS,
    SESSION,
    SESSION_ANSWER,
    Running,
    Tokens,
    running,
    trusting,
)
from tune_operator.reports.identity import PodIdentity
from tune_operator.reports.limits import ReportLimits
from tune_operator.reports.server import ReportServer
from tune_operator.reports.sink import NotBound, NotReady, Outdated
from tune_trainer.protocol.messages import (
    BODY_LIMIT,
    COMPLETE_PATH,
    RESULTS_PATH,
    SESSION_PATH,
    CompleteRequest,
    ResultsRequest,
    SessionRequest,
)

RESULT_WITH = b'{"version":1,"attempt":2,"seq":1,"results":[{"seq":1,"metrics":{"x":%s}}]}'
CALLS: list[tuple[str, SessionRequest | ResultsRequest | CompleteRequest]] = [
    (SESSION_PATH, SESSION),
    (RESULTS_PATH, RESULTS),
    (COMPLETE_PATH, COMPLETE),
]


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    async with running() as up:
        yield up


async def test_each_call_reaches_the_sink_with_the_pod_of_the_token(run: Running) -> None:
    answers = [await run.post(path, message.to_json()) for path, message in CALLS]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert answers[0][1] == SESSION_ANSWER.to_json()
    assert answers[1][1]["received"] == 1
    assert answers[2][1]["recorded"] is True
    assert run.sink.seen == [(POD, SESSION), (POD, RESULTS), (POD, COMPLETE)]


async def test_what_the_body_says_about_identity_changes_nothing(run: Running) -> None:
    body = {**SESSION.to_json(), "podUID": POD.uid, "namespace": POD.namespace}
    await run.post(SESSION_PATH, body, token="other")
    assert run.sink.seen == [(OTHER_POD, SESSION)]


@pytest.mark.parametrize("path", [path for path, _ in CALLS])
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer g\xf6\xf6d", "Basic good", "good"],
)
async def test_without_a_valid_token_nothing_is_heard(
    run: Running, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    url = f"https://localhost:{run.server.port}{path}"
    async with run.client.post(url, headers=headers, data=b"{}") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert (await response.json())["error"]["code"] == "Unauthenticated"
    assert run.sink.seen == []
    assert run.refused("Unauthenticated") == 1


async def test_a_token_that_cannot_be_checked_is_not_a_wrong_token(run: Running) -> None:
    run.tokens.failure = ConnectionError("the API server is away")
    status, body, headers = await run.post(SESSION_PATH, SESSION.to_json())
    assert (status, body["error"]["code"]) == (503, "NotReady")
    assert "Retry-After" in headers
    assert "API server" not in body["error"]["message"]


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Outdated("attempt 2 is not current"), 401, "Outdated"),
        (NotBound("not bound yet"), 409, "NotBound"),
        (NotReady("not the leader"), 503, "NotReady"),
    ],
)
async def test_refusals_of_the_sink(
    run: Running, failure: Exception, status: int, code: str
) -> None:
    run.sink.failure = failure
    for path, message in CALLS:
        got, body, _ = await run.post(path, message.to_json())
        assert (got, body["error"]) == (status, {"code": code, "message": str(failure)})
    assert run.refused(code) == 3


async def test_a_defect_has_an_id_and_shows_no_trace(
    run: Running, caplog: pytest.LogCaptureFixture
) -> None:
    run.sink.failure = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.ERROR):
        status, body, _ = await run.post(SESSION_PATH, SESSION.to_json())
    assert (status, body["error"]["code"]) == (500, "Internal")
    incident = body["error"]["message"].rpartition(" ")[2]
    assert "secret detail" not in json.dumps(body)
    assert incident in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (SESSION_PATH, b"", "session"),
        (SESSION_PATH, b"[]", "object"),
        (SESSION_PATH, b'{"version": 99}', "version"),
        (SESSION_PATH, b'{"version": 1, "attempt": 2}', "trial"),
        (SESSION_PATH, b'{"version": 1, "trial": "00003", "attempt": "2"}', "attempt"),
        (SESSION_PATH, b'{"version": 1, "trial": "00003", "attempt": 0}', "attempt"),
        (RESULTS_PATH, b'{"version": 1, "attempt": 2, "results": 3, "seq": 0}', "results"),
        (
            RESULTS_PATH,
            RESULT_WITH % b"NaN",
            "NaN",
        ),
        (
            RESULTS_PATH,
            RESULT_WITH % b"Infinity",
            "Infinity",
        ),
        (RESULTS_PATH, b"[" * 100_000, "results"),
        (RESULTS_PATH, RESULT_WITH % (b'{"a":' * 900 + b"1" + b"}" * 900), "too deeply"),
        (
            RESULTS_PATH,
            b'{"version":1,"attempt":2,"seq":0,"checkpoints":["1-%s"]}' % (b"9" * 5000),
            "",
        ),
        (RESULTS_PATH, b"\xff\xfe\xff", "results"),
        (COMPLETE_PATH, b'{"version": 1, "attempt": 2}', "exit"),
    ],
)
async def test_a_body_that_is_no_message_is_told_which_field(
    run: Running, path: str, body: bytes, says: str
) -> None:
    status, answer, _ = await run.post(path, body)
    assert (status, answer["error"]["code"]) == (400, "BadRequest")
    assert says in answer["error"]["message"]
    assert run.sink.seen == []


async def test_a_body_at_the_limit_is_read_and_one_byte_more_is_not(run: Running) -> None:
    body = json.dumps(SESSION.to_json()).encode()
    status, _, _ = await run.post(SESSION_PATH, body.ljust(BODY_LIMIT))
    assert status == 200
    status, answer, _ = await run.post(SESSION_PATH, body.ljust(BODY_LIMIT + 1))
    assert (status, answer["error"]["code"]) == (413, "TooLarge")


async def test_a_body_without_length_is_cut_at_the_limit_too(run: Running) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 1024 + 1):
            yield bytes(1024)

    url = f"https://localhost:{run.server.port}{SESSION_PATH}"
    headers = {"Authorization": "Bearer good"}
    async with run.client.post(url, headers=headers, data=chunks()) as response:
        assert response.status == 413


async def test_a_compressed_body_is_not_unpacked(run: Running) -> None:
    url = f"https://localhost:{run.server.port}{SESSION_PATH}"
    headers = {"Authorization": "Bearer good", "Content-Encoding": "gzip"}
    async with run.client.post(url, headers=headers, json=SESSION.to_json()) as response:
        assert response.status == 200  # the bytes count, whatever the header says


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", SESSION_PATH, 405), ("POST", "/v1/other", 404), ("GET", "/", 404)],
)
async def test_other_calls(run: Running, method: str, path: str, status: int) -> None:
    url = f"https://localhost:{run.server.port}{path}"
    async with run.client.request(method, url) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == "BadRequest"


async def test_one_pod_cannot_use_up_the_rate_of_another() -> None:
    async with running(ReportLimits(pod_rate=0.001, pod_burst=2)) as run:
        statuses = [(await run.post(SESSION_PATH, SESSION.to_json()))[0] for _ in range(2)]
        status, body, headers = await run.post(SESSION_PATH, SESSION.to_json())
        assert statuses == [200, 200]
        assert (status, body["error"]["code"]) == (429, "TooManyRequests")
        assert int(headers["Retry-After"]) > 1
        assert (await run.post(SESSION_PATH, SESSION.to_json(), token="other"))[0] == 200
        assert run.refused("TooManyRequests") == 1


async def test_one_pod_has_few_requests_at_once() -> None:
    async with running(ReportLimits(pod_in_flight=1)) as run:
        run.sink.gate = asyncio.Event()
        first = asyncio.ensure_future(run.post(SESSION_PATH, SESSION.to_json()))
        await run.sink.entered.wait()
        assert (await run.post(SESSION_PATH, SESSION.to_json()))[0] == 429
        run.sink.gate.set()
        assert (await first)[0] == 200
        assert (await run.post(SESSION_PATH, SESSION.to_json()))[0] == 200


async def test_all_pods_together_have_a_bound() -> None:
    async with running(ReportLimits(in_flight=1)) as run:
        run.sink.gate = asyncio.Event()
        first = asyncio.ensure_future(run.post(SESSION_PATH, SESSION.to_json()))
        await run.sink.entered.wait()
        status, body, _ = await run.post(SESSION_PATH, SESSION.to_json(), token="other")
        assert (status, body["error"]["code"]) == (503, "NotReady")
        run.sink.gate.set()
        assert (await first)[0] == 200


async def test_a_sink_that_hangs_is_not_waited_for() -> None:
    async with running(ReportLimits(answer_seconds=0.05)) as run:
        run.sink.gate = asyncio.Event()
        status, body, _ = await run.post(SESSION_PATH, SESSION.to_json())
        assert (status, body["error"]["code"]) == (503, "NotReady")


async def connect(run: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        "127.0.0.1", run.server.port, ssl=trusting(run.ca), server_hostname="localhost"
    )


async def test_a_body_that_does_not_arrive_ends_the_request() -> None:
    async with running(ReportLimits(body_seconds=0.05, linger_seconds=0.05)) as run:
        reader, writer = await connect(run)
        writer.write(
            b"POST /v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer good\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.transport.abort()


async def test_a_trainer_that_dies_in_the_middle_of_its_report_is_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reviewed = asyncio.Event()

    class Reviewing(Tokens):
        async def authenticate(self, token: str) -> PodIdentity | None:
            reviewed.set()
            return await super().authenticate(token)

    async with running(authenticator=Reviewing()) as up:
        _, writer = await connect(up)
        writer.write(
            b"POST /v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer good\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        await reviewed.wait()
        writer.transport.abort()

        async def counted() -> bool:
            return bool(up.refused("BadRequest") or up.refused("Internal"))

        async def nothing() -> str:
            return caplog.text

        await eventually(counted, "the request is counted", 10, nothing)
        assert up.refused("Internal") == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("said", [b"", b"POST /v1/session HTTP/1.1\r\nHost: loc"])
async def test_a_client_that_says_nothing_is_hung_up_on(said: bytes) -> None:
    async with running(ReportLimits(handshake_seconds=0.1, header_seconds=0.1)) as run:
        reader, writer = await connect(run)
        writer.write(said)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.transport.abort()


async def test_a_client_that_spoke_is_kept() -> None:
    async with running(ReportLimits(handshake_seconds=0.1, header_seconds=0.1)) as quick:
        quick.sink.gate = asyncio.Event()
        request = asyncio.ensure_future(quick.post(SESSION_PATH, SESSION.to_json()))
        await quick.sink.entered.wait()
        reader, writer = await connect(quick)
        assert (
            await asyncio.wait_for(reader.read(), 10) == b""
        )  # the silent one has been hung up on
        writer.transport.abort()
        quick.sink.gate.set()
        assert (await request)[0] == 200


async def test_connections_have_a_bound() -> None:
    async with running(ReportLimits(connections=1)) as run:
        _, first = await connect(run)
        ended = False
        try:
            reader, second = await connect(run)
            second.transport.abort()
            ended = await asyncio.wait_for(reader.read(), 10) == b""
        except OSError:
            ended = True
        assert ended
        first.transport.abort()


async def test_stop_lets_a_request_finish_and_accepts_no_other() -> None:
    async with running() as run:
        port = run.server.port
        run.sink.gate = asyncio.Event()
        request = asyncio.ensure_future(run.post(SESSION_PATH, SESSION.to_json()))
        await run.sink.entered.wait()
        stopping = asyncio.ensure_future(run.server.stop())
        await asyncio.sleep(0)
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asyncio.open_connection("127.0.0.1", port)
        run.sink.gate.set()
        assert (await request)[0] == 200
        await stopping


async def test_what_is_under_way_when_the_bound_of_a_stop_passes_is_told_to_ask_again() -> None:
    async with running(ReportLimits(stop_seconds=0.05)) as run:
        run.sink.gate = asyncio.Event()
        request = asyncio.ensure_future(run.post(SESSION_PATH, SESSION.to_json()))
        await run.sink.entered.wait()
        await asyncio.wait_for(run.server.stop(), 5)
        status, body, headers = await request
        assert (status, body["error"]["code"]) == (503, "NotReady")
        assert "stopping" in body["error"]["message"]
        assert "Retry-After" in headers
        assert run.sink.seen == []


async def test_a_request_on_an_open_connection_is_turned_away_while_the_server_stops() -> None:
    async with running() as run:
        await run.post(SESSION_PATH, SESSION.to_json())
        run.sink.gate = asyncio.Event()
        run.sink.entered.clear()
        reader, writer = await connect(run)
        first = asyncio.ensure_future(run.post(SESSION_PATH, SESSION.to_json()))
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        await run.sink.entered.wait()
        stopping = asyncio.ensure_future(run.server.stop())
        await asyncio.sleep(0)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"HTTP/1.1 503")
        run.sink.gate.set()
        assert (await first)[0] == 200
        await stopping
        writer.transport.abort()


async def test_a_request_that_ends_as_the_bound_of_a_stop_passes_is_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A loop that was busy beyond both times finds both passed in one turn, the request's first."""
    async with running(ReportLimits(stop_seconds=0.5, answer_seconds=0.5)) as run:
        run.sink.gate = asyncio.Event()
        request = asyncio.ensure_future(run.post(SESSION_PATH, SESSION.to_json()))
        await run.sink.entered.wait()
        stopping = asyncio.ensure_future(run.server.stop())
        for _ in range(20):  # turns of the loop, until the stop waits for the request
            await asyncio.sleep(0)
        busy_until = asyncio.get_running_loop().time() + 1
        while asyncio.get_running_loop().time() < busy_until:
            pass
        assert (await request)[0] == 503
        await stopping
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_an_address_in_use_is_an_error_at_start(run: Running) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    second = ReportServer(run.sink, run.tokens, context, "127.0.0.1", run.server.port, run.metrics)
    with pytest.raises(OSError, match="address already in use"):
        await second.start()


async def test_nobody_is_served_without_tls(run: Running) -> None:
    with pytest.raises(aiohttp.ClientError):
        await run.client.post(f"http://localhost:{run.server.port}{SESSION_PATH}")


async def test_durations_are_counted_per_call(run: Running) -> None:
    await run.post(SESSION_PATH, SESSION.to_json())
    labels = {"path": SESSION_PATH}
    assert run.metrics.registry.get_sample_value("tune_report_seconds_count", labels) == 1
