"""Every answer that is not 200: status, error code of the protocol, words for the trainer's log."""

import json
from collections.abc import Mapping

from aiohttp import web

from tune_operator.reports.limits import retry_after
from tune_operator.reports.sink import NotBound, Outdated, SinkRefusal
from tune_trainer.protocol.messages import ErrorCode


class Refusal(Exception):
    """Ends a request with this answer."""

    def __init__(
        self, status: int, code: ErrorCode, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def answer(self) -> web.Response:
        """The response: `{"error": {"code", "message"}}`."""
        body = json.dumps({"error": {"code": self.code.value, "message": self.message}})
        return web.Response(
            status=self.status, text=body, content_type="application/json", headers=self.headers
        )


def unauthenticated(message: str) -> Refusal:
    """The token is missing or wrong."""
    return Refusal(401, ErrorCode.UNAUTHENTICATED, message, {"WWW-Authenticate": "Bearer"})


def bad_request(message: str, status: int = 400) -> Refusal:
    """The request is not what the protocol demands."""
    return Refusal(status, ErrorCode.BAD_REQUEST, message)


def too_large(limit: int) -> Refusal:
    """The body is longer than `limit` bytes."""
    return Refusal(
        413, ErrorCode.TOO_LARGE, f"a body has at most {limit} bytes; send fewer results"
    )


def too_many(seconds: float, message: str) -> Refusal:
    """This Pod asks for more than its share."""
    headers = {"Retry-After": retry_after(seconds)}
    return Refusal(429, ErrorCode.TOO_MANY_REQUESTS, message, headers)


def not_ready(message: str) -> Refusal:
    """Not the trainer's fault: it asks again."""
    return Refusal(503, ErrorCode.NOT_READY, message, {"Retry-After": "1"})


def of_sink(refusal: SinkRefusal) -> Refusal:
    """What the experiment declines."""
    match refusal:
        case Outdated():
            return Refusal(401, ErrorCode.OUTDATED, refusal.message)
        case NotBound():
            return Refusal(409, ErrorCode.NOT_BOUND, refusal.message, {"Retry-After": "1"})
        case _:  # NotReady
            return not_ready(refusal.message)


def internal(incident: str) -> Refusal:
    """A defect of ours; the log has the rest under the same id."""
    return Refusal(500, ErrorCode.INTERNAL, f"internal error {incident}")
