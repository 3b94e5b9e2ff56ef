"""Everything that can go wrong with the API server, typed and mapped here and nowhere else.

The classes say what a caller may do: look again (Conflict, Gone), wait (TooManyRequests, Transient)
or tell somebody (Forbidden, Invalid). Status reasons and codes: Kubernetes API conventions, section
"Response Status Kind".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

MESSAGE_LIMIT = 1024  # characters; a refused body may be quoted back at full length
DEFAULT_RETRY_AFTER = 1.0  # seconds; what the API server itself sends with most 429


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of `details.causes`: which field, and what is wrong with it."""

    field: str
    reason: str
    message: str


class KubeError(Exception):
    """A request that did not do what it should. `verb` and `resource` say which one it was."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        verb: str = "",
        resource: str = "",
        causes: tuple[Cause, ...] = (),
    ) -> None:
        super().__init__(f"{verb} {resource}: {message}".strip())
        self.message = message
        self.reason = reason
        self.verb = verb
        self.resource = resource
        self.causes = causes


class NotFound(KubeError):
    """404: the object, or its kind, does not exist."""


class AlreadyExists(KubeError):
    """409 on a create: the name is taken."""


class Conflict(KubeError):
    """409: the resourceVersion or UID is not the current one. Read again, decide again."""


class Gone(KubeError):
    """410: the resourceVersion or the list's continuation is too old. List again."""


class Unauthorized(KubeError):
    """401: the credentials are not, or no longer, valid."""


class Forbidden(KubeError):
    """403: RBAC, an admission plugin, a quota or a namespace that is going away says no."""

    @property
    def exceeded_quota(self) -> bool:
        """A ResourceQuota is used up: the same request may work later."""
        return "exceeded quota" in self.message

    @property
    def namespace_terminating(self) -> bool:
        """Nothing can be created in this namespace any more."""
        return any(cause.reason == "NamespaceTerminating" for cause in self.causes)


class Invalid(KubeError):
    """400, 413, 415, 422 and other refusals of the request itself; repeating it is of no use.

    A failed `test` of a JSON patch is a 422 as well.
    """


class TooManyRequests(KubeError):
    """429: nothing was done. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = DEFAULT_RETRY_AFTER, **of: Any):
        super().__init__(message, **of)
        self.retry_after = retry_after


class Transient(KubeError):
    """5xx, time-out, no or a broken connection. A write may have been done all the same."""


BY_CODE: Mapping[int, type[KubeError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: Transient,
    409: Conflict,
    410: Gone,
    429: TooManyRequests,
}


def from_status(
    code: int,
    status: Mapping[str, Any],
    *,
    verb: str,
    resource: str,
    retry_after: str | None = None,
) -> KubeError:
    """The error for an HTTP code, or for the code in a watch's ERROR event.

    status: the body as a Status object; whatever else it is, only what can be read of it is used.
    """
    of: dict[str, Any] = {
        "reason": str(status.get("reason") or ""),
        "verb": verb,
        "resource": resource,
        "causes": _causes(status),
    }
    message = str(status.get("message") or f"HTTP {code}")[:MESSAGE_LIMIT]
    if code == 409 and of["reason"] == "AlreadyExists":
        return AlreadyExists(message, **of)
    if code == 429:
        return TooManyRequests(message, retry_after=_seconds(retry_after), **of)
    if code >= 500:
        return Transient(message, **of)
    return BY_CODE.get(code, Invalid)(message, **of)


# What the transport raises: a connection that fails or breaks, a body that is no JSON.
TRANSPORT_ERRORS = (TimeoutError, aiohttp.ClientError, OSError, ValueError)


def from_transport(error: BaseException, *, verb: str, resource: str) -> Transient:
    """The error for an exception of TRANSPORT_ERRORS."""
    if isinstance(error, TimeoutError):
        return Transient("no answer in time", reason="Timeout", verb=verb, resource=resource)
    text = str(error)[:MESSAGE_LIMIT] or type(error).__name__
    return Transient(text, reason=type(error).__name__, verb=verb, resource=resource)


def _causes(status: Mapping[str, Any]) -> tuple[Cause, ...]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    return tuple(
        Cause(
            field=str(cause.get("field") or ""),
            reason=str(cause.get("reason") or ""),
            message=str(cause.get("message") or "")[:MESSAGE_LIMIT],
        )
        for cause in (causes if isinstance(causes, list) else ())
        if isinstance(cause, Mapping)
    )


def _seconds(retry_after: str | None) -> float:
    """Retry-After in seconds; the API server never sends the HTTP-date form."""
    try:
        return max(0.0, float(retry_after or DEFAULT_RETRY_AFTER))
    except ValueError:
        return DEFAULT_RETRY_AFTER
