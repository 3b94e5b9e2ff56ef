import json
from typing import Any

import aiohttp
import pytest

from tests.unit.kube.api_server import status
from tune_operator.kube import errors
from tune_operator.kube.errors import KubeError, from_status, from_transport


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        pytest.param(400, "BadRequest", errors.Invalid, id="unknown field under strict validation"),
        pytest.param(401, "Unauthorized", errors.Unauthorized, id="token expired"),
        pytest.param(403, "Forbidden", errors.Forbidden, id="no RBAC"),
        pytest.param(404, "NotFound", errors.NotFound, id="no such object"),
        pytest.param(405, "MethodNotAllowed", errors.Invalid, id="verb not served"),
        pytest.param(408, "Timeout", errors.Transient, id="request timeout"),
        pytest.param(409, "AlreadyExists", errors.AlreadyExists, id="name taken"),
        pytest.param(409, "Conflict", errors.Conflict, id="stale resourceVersion"),
        pytest.param(410, "Expired", errors.Gone, id="resourceVersion too old"),
        pytest.param(413, "RequestEntityTooLarge", errors.Invalid, id="body too large"),
        pytest.param(422, "Invalid", errors.Invalid, id="field refused or test of a patch failed"),
        pytest.param(429, "TooManyRequests", errors.TooManyRequests, id="priority and fairness"),
        pytest.param(500, "InternalError", errors.Transient, id="etcd leader changed"),
        pytest.param(503, "ServiceUnavailable", errors.Transient, id="starting up"),
        pytest.param(504, "Timeout", errors.Transient, id="time-out, may have been committed"),
    ],
)
def test_code_and_reason_give_the_type(code: int, reason: str, expected: type[KubeError]) -> None:
    error = from_status(code, status(code, reason, "why"), verb="create", resource="pods tune/a")
    assert type(error) is expected
    assert (error.message, error.reason) == ("why", reason)
    assert (error.verb, error.resource) == ("create", "pods tune/a")
    assert str(error) == "create pods tune/a: why"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(None, 1.0, id="absent"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", 1.0, id="a date is not understood"),
        pytest.param("-3", 0.0, id="never negative"),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    error = from_status(429, {}, verb="list", resource="pods", retry_after=header)
    assert isinstance(error, errors.TooManyRequests)
    assert error.retry_after == seconds


QUOTA = 'pods "a" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: 2'


@pytest.mark.parametrize(
    ("body", "quota", "terminating"),
    [
        pytest.param(status(403, "Forbidden", QUOTA), True, False, id="quota used up"),
        pytest.param(
            status(403, "Forbidden", "no", causes=[{"reason": "NamespaceTerminating"}]),
            False,
            True,
            id="namespace goes away",
        ),
        pytest.param(status(403, "Forbidden", "cannot create"), False, False, id="RBAC"),
    ],
)
def test_kinds_of_forbidden(body: dict[str, Any], quota: bool, terminating: bool) -> None:
    error = from_status(403, body, verb="create", resource="pods")
    assert isinstance(error, errors.Forbidden)
    assert (error.exceeded_quota, error.namespace_terminating) == (quota, terminating)


def test_causes_name_the_field() -> None:
    cause = {"field": "spec.containers[0].image", "reason": "FieldValueRequired", "message": "Req"}
    error = from_status(422, status(422, "Invalid", "no", causes=[cause]), verb="", resource="")
    assert error.causes == (errors.Cause("spec.containers[0].image", "FieldValueRequired", "Req"),)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no Status at all"),
        pytest.param({"details": None, "reason": None}, id="nulls"),
        pytest.param({"details": {"causes": "x"}}, id="causes of another type"),
        pytest.param({"details": {"causes": ["x", {"field": None}]}}, id="odd causes"),
    ],
)
def test_odd_bodies_are_read_as_far_as_possible(body: dict[str, Any]) -> None:
    error = from_status(502, body, verb="get", resource="pods")
    assert isinstance(error, errors.Transient)
    assert error.message == "HTTP 502"


def test_message_is_bounded() -> None:
    error = from_status(422, status(422, "Invalid", "x" * 5000), verb="", resource="")
    assert len(error.message) == errors.MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        pytest.param(TimeoutError(), "no answer in time", id="time-out"),
        pytest.param(aiohttp.SocketTimeoutError("x"), "no answer in time", id="silent socket"),
        pytest.param(ConnectionResetError("reset"), "reset", id="connection reset"),
        pytest.param(aiohttp.ServerDisconnectedError(), "Server disconnected", id="server gone"),
        pytest.param(aiohttp.ClientPayloadError("cut"), "cut", id="body cut off"),
        pytest.param(
            json.JSONDecodeError("bad", "", 0), "bad: line 1 column 1 (char 0)", id="torn"
        ),
    ],
)
def test_transport_failures_are_transient(raised: Exception, message: str) -> None:
    assert isinstance(raised, errors.TRANSPORT_ERRORS)
    error = from_transport(raised, verb="watch", resource="pods")
    assert isinstance(error, errors.Transient)
    assert error.message == message
