"""The HTTPS server for trainers: who asks, how much, is it a message. The sink does the rest.

The order is deliberate: nobody unknown gets a body read, nothing is parsed for who asks too much.
"""

import asyncio
import logging
import re
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from aiohttp import web

from tune_operator.obs.metrics import Metrics
from tune_operator.reports import refusals
from tune_operator.reports.connections import Listener
from tune_operator.reports.identity import Authenticator, PodIdentity
from tune_operator.reports.limits import RateLimiter, ReportLimits
from tune_operator.reports.refusals import Refusal
from tune_operator.reports.sink import ReportSink, SinkRefusal
from tune_operator.reports.under_way import Stopping, UnderWay
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.messages import (
    BODY_LIMIT,
    COMPLETE_PATH,
    RESULTS_PATH,
    SESSION_PATH,
    CompleteRequest,
    ResultsRequest,
    SessionRequest,
)

log = logging.getLogger(__name__)
Request = TypeVar("Request")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""The form of RFC 6750. Anything else is not worth a question to the API server."""


class Answer(Protocol):
    """A message that goes back."""

    def to_json(self) -> dict[str, Any]:
        """Its JSON form."""
        ...


class ReportServer:
    """Serves `sink` on `host:port`. Port 0 takes a free one; `port` says which."""

    def __init__(
        self,
        sink: ReportSink,
        authenticator: Authenticator,
        ssl_context: ssl.SSLContext,
        host: str,
        port: int,
        metrics: Metrics,
        limits: ReportLimits | None = None,
    ) -> None:
        self._limits = limits or ReportLimits()
        self._authenticator = authenticator
        self._ssl_context = ssl_context
        self._address = (host, port)
        self._metrics = metrics
        self._rates = RateLimiter(self._limits.pod_rate, self._limits.pod_burst)
        self._reviews = asyncio.Semaphore(self._limits.authentications)
        self._in_flight: Counter[str] = Counter()
        self._under_way = UnderWay()
        self._listener: Listener | None = None
        self._runner = self._application(sink)

    def _application(self, sink: ReportSink) -> web.AppRunner:
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_LIMIT)
        app.router.add_post(SESSION_PATH, self._endpoint(SessionRequest.from_bytes, sink.session))
        app.router.add_post(RESULTS_PATH, self._endpoint(ResultsRequest.from_bytes, sink.results))
        app.router.add_post(
            COMPLETE_PATH, self._endpoint(CompleteRequest.from_bytes, sink.complete)
        )
        return web.AppRunner(
            app,
            access_log=None,
            # A compressed body would be a way around the limit of its size.
            auto_decompress=False,
            keepalive_timeout=self._limits.idle_seconds,
            lingering_time=self._limits.linger_seconds,
            # All it can find at its end are bodies nobody reads.
            shutdown_timeout=self._limits.linger_seconds,
        )

    @property
    def port(self) -> int:
        """The port that is listened on; only between start and stop."""
        if self._listener is None:
            raise RuntimeError("the report server has not been started")
        return self._listener.port

    async def start(self) -> None:
        """Listens from here on. Raises OSError when the address cannot be had."""
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("aiohttp made no server")
        self._listener = Listener(self._runner.server, self._limits)
        try:
            await self._listener.open(*self._address, self._ssl_context)
        except BaseException:
            await self._runner.cleanup()
            raise

    async def stop(self) -> None:
        """Accepts nothing more, lets what is under way finish, turns away what is late."""
        if self._listener is not None:
            self._listener.close()
        await self._under_way.end(self._limits.stop_seconds)
        await self._runner.cleanup()

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Turns every ending into an answer of the protocol."""
        if self._listener is not None:
            self._listener.spoke(request.protocol)
        try:
            async with self._under_way.request():
                return await handler(request)
        except Stopping:
            refusal = refusals.not_ready("the operator is stopping, ask again")
        except Refusal as error:
            refusal = error
        except SinkRefusal as error:
            refusal = refusals.of_sink(error)
        except web.HTTPRequestEntityTooLarge:
            refusal = refusals.too_large(BODY_LIMIT)
        except web.HTTPException as error:
            refusal = refusals.bad_request(
                f"{request.method} {request.path}: no such call", error.status
            )
        except Exception:  # whatever it is, the trainer gets no trace of it
            incident = secrets.token_hex(8)
            log.exception("request %s failed, incident %s", request.path, incident)
            refusal = refusals.internal(incident)
        self._metrics.reports_refused.labels(refusal.code.value).inc()
        return refusal.answer()

    def _endpoint(
        self,
        parse: Callable[[bytes], Request],
        act: Callable[[PodIdentity, Request], Awaitable[Answer]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            started = time.monotonic()
            if (request.content_length or 0) > BODY_LIMIT:
                raise refusals.too_large(BODY_LIMIT)
            pod = await self._identify(request)
            with self._turn(pod):
                message = self._parse(parse, await self._body(request))
                try:
                    async with asyncio.timeout(self._limits.answer_seconds):
                        answer = await act(pod, message)
                except TimeoutError:
                    raise refusals.not_ready("no answer in time, ask again") from None
            self._metrics.report_seconds.labels(request.path).observe(time.monotonic() - started)
            return web.json_response(answer.to_json())

        return handle

    async def _identify(self, request: web.Request) -> PodIdentity:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token):
            raise refusals.unauthenticated("send the Pod's token as Authorization: Bearer <token>")
        try:
            async with asyncio.timeout(self._limits.answer_seconds), self._reviews:
                pod = await self._authenticator.authenticate(token)
        except Exception as error:  # noqa: BLE001  # whichever way asking failed, it is no answer
            log.warning("a token could not be reviewed: %s", type(error).__name__)
            raise refusals.not_ready("the token cannot be checked now, ask again") from None
        if pod is None:
            raise refusals.unauthenticated("the token is invalid, or not bound to a Pod for us")
        return pod

    @contextmanager
    def _turn(self, pod: PodIdentity) -> Iterator[None]:
        """A Pod's share: a rate, and few requests at once, so that slow bodies do not add up."""
        wait = self._rates.take(pod.uid)
        if wait > 0:
            raise refusals.too_many(
                wait, f"more than {self._limits.pod_rate:g} requests per second"
            )
        if self._in_flight[pod.uid] >= self._limits.pod_in_flight:
            raise refusals.too_many(1, "too many requests at once")
        if self._in_flight.total() >= self._limits.in_flight:
            raise refusals.not_ready("the operator is busy, ask again")
        self._in_flight[pod.uid] += 1
        try:
            yield
        finally:
            self._in_flight[pod.uid] -= 1
            if not self._in_flight[pod.uid]:
                del self._in_flight[pod.uid]

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await request.read()
        except TimeoutError:
            raise refusals.bad_request("the body did not arrive in time", 408) from None
        except OSError:  # the trainer died, or the network: nobody hears the answer
            raise refusals.bad_request("the connection broke within the body") from None

    @staticmethod
    def _parse(parse: Callable[[bytes], Request], body: bytes) -> Request:
        try:
            return parse(body)
        except ProtocolError as error:
            raise refusals.bad_request(str(error)) from None
        except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand levels
            raise refusals.bad_request("the body is beyond what a message may hold") from None
