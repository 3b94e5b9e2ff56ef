"""A sink and an authenticator to put behind a real server, and a real client in front of it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tune_operator.obs.metrics import Metrics
from tune_operator.reports.certificates import KeyPair, create_ca
from tune_operator.reports.identity import Authenticator, PodIdentity
from tune_operator.reports.limits import ReportLimits
from tune_operator.reports.server import ReportServer
from tune_operator.reports.serving import ServingCertificate
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.messages import (
    CompleteRequest,
    CompleteResponse,
    ResultsRequest,
    ResultsResponse,
    SessionRequest,
    SessionResponse,
    StorageInfo,
)
from tune_trainer.protocol.result import Result

GOOD = "good"
POD = PodIdentity("team-a", "digits-ab1cd-00003-2", "6c2b7bd3-0000-4000-8000-000000000003")
OTHER_POD = PodIdentity("team-b", "other", "6c2b7bd3-0000-4000-8000-000000000004")
SESSION = SessionRequest("00003", 2)
RESULTS = ResultsRequest(2, (Result(1, {"loss": 0.5}),), (CheckpointRef(2, 5),))
COMPLETE = CompleteRequest(
    2,
    ExitRecord(
        "digits", "00003", 2, Outcome.COMPLETED, "Completed", "", 30, "2026-01-01T00:00:00Z"
    ),
)
SESSION_ANSWER = SessionResponse(
    experiment="digits",
    experiment_uid="u",
    namespace="team-a",
    run_id="u",
    trial="00003",
    attempt=2,
    config={"lr": 0.1},
    metric="loss",
    mode="min",
    criteria={"training_iteration": 30.0},
    frequency=5,
    at_end=True,
    plan=(CheckpointRef(1, 5),),
    storage=StorageInfo("http://minio:9000", "us-east-1", "tune", "team-a/digits/u"),
)


@dataclass
class Sink:
    """Keeps what comes in. `failure` is raised instead of an answer; `gate` holds answers back."""

    seen: list[tuple[PodIdentity, object]] = field(default_factory=list)
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def session(self, pod: PodIdentity, request: SessionRequest) -> SessionResponse:
        await self._take(pod, request)
        return SESSION_ANSWER

    async def results(self, pod: PodIdentity, request: ResultsRequest) -> ResultsResponse:
        await self._take(pod, request)
        return ResultsResponse(received=request.seq, durable=0)

    async def complete(self, pod: PodIdentity, request: CompleteRequest) -> CompleteResponse:
        await self._take(pod, request)
        return CompleteResponse()

    async def _take(self, pod: PodIdentity, request: object) -> None:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.seen.append((pod, request))


@dataclass
class Tokens:
    """Knows two tokens. `failure` stands for an API server that is away."""

    failure: Exception | None = None

    async def authenticate(self, token: str) -> PodIdentity | None:
        if self.failure is not None:
            raise self.failure
        return {"good": POD, "other": OTHER_POD}.get(token)


@dataclass
class Running:
    """A server and what it was made of."""

    server: ReportServer
    sink: Sink
    tokens: Tokens
    metrics: Metrics
    ca: KeyPair
    client: aiohttp.ClientSession

    async def post(
        self, path: str, body: bytes | dict[str, Any], token: str | None = GOOD
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers of the answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        url = f"https://localhost:{self.server.port}{path}"
        async with self.client.post(url, headers=headers, **sent) as response:
            return response.status, await response.json(), dict(response.headers)

    def refused(self, reason: str) -> float:
        """Value of the counter of refusals."""
        return (
            self.metrics.registry.get_sample_value("tune_reports_refused_total", {"reason": reason})
            or 0.0
        )


def trusting(ca: KeyPair) -> ssl.SSLContext:
    """A client's context that trusts this authority only, as strictly as newer Pythons do."""
    context = ssl.create_default_context(cadata=ca.certificate.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@asynccontextmanager
async def running(
    limits: ReportLimits | None = None, authenticator: Authenticator | None = None
) -> AsyncIterator[Running]:
    """A real server on a free port with a real client; tokens are made up unless reviewed."""
    sink, tokens, metrics, ca = Sink(), Tokens(), Metrics(), create_ca()
    certificate = ServingCertificate(ca, ["localhost", "127.0.0.1"])
    server = ReportServer(
        sink, authenticator or tokens, certificate.context, "127.0.0.1", 0, metrics, limits
    )
    await server.start()
    connector = aiohttp.TCPConnector(ssl=trusting(ca))
    async with aiohttp.ClientSession(connector=connector) as client:
        yield Running(server, sink, tokens, metrics, ca, client)
        await server.stop()
