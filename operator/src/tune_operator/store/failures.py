"""Turns what minio and urllib3 raise into the store's few errors, with remedy and without secret.

Nothing of the server's text is passed on except the S3 error code, if it looks like one.
"""

import re
from dataclasses import dataclass

from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from tune_operator.store.errors import (
    AccessDenied,
    BadLocation,
    BucketMissing,
    NotFound,
    StoreError,
    Unreachable,
)
from tune_operator.store.transport import AnswerTooLong, DeadlinePassed, ServerFailure

_CODE = re.compile(r"[A-Za-z]{1,40}")
_WHERE = "the Secret that storage.credentials names"
_WRONG_KEYS = {
    "InvalidAccessKeyId": f"does not know the access key; check AWS_ACCESS_KEY_ID in {_WHERE}",
    "SignatureDoesNotMatch": f"refuses the secret key; check AWS_SECRET_ACCESS_KEY in {_WHERE}",
    "ExpiredToken": f"says the keys have expired; renew them and AWS_SESSION_TOKEN in {_WHERE}",
    "InvalidToken": f"refuses the session token; check AWS_SESSION_TOKEN in {_WHERE}",
    "InvalidTokenId": f"refuses the session token; check AWS_SESSION_TOKEN in {_WHERE}",
    "RequestTimeTooSkewed": "says the operator's clock is more than 15 minutes off; set the clocks",
}
_WRONG_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "PermanentRedirect"}
    | {"TemporaryRedirect", "Redirect", "IllegalLocationConstraintException"}
)
_BUSY = frozenset(
    {"SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request was about, for the message."""

    endpoint: str
    bucket: str
    key: str

    @property
    def uri(self) -> str:
        """The s3:// form of the key or prefix."""
        return f"s3://{self.bucket}/{self.key}"


def translate(error: Exception, target: Target) -> StoreError:
    """The StoreError for an exception of minio, urllib3 or a socket."""
    match error:
        case S3Error():
            return refusal(error.code or "", error.response.status, target)
        case ServerFailure() | ServerError():
            return Unreachable(f"{target.endpoint} answers with {error}; is it healthy?")
        case InvalidResponseError():
            return Unreachable(
                f"{target.endpoint} does not answer like an S3 server; check storage.endpoint "
                "(scheme, host and port of the S3 interface, not of a console)"
            )
        case AnswerTooLong():
            return StoreError(f"{target.endpoint} answers {target.uri} with {error}; not read")
        case NameResolutionError():
            return Unreachable(
                f"{target.endpoint}: the host name does not resolve; check storage.endpoint"
            )
        case SSLError():
            return Unreachable(
                f"{target.endpoint}: no TLS connection; is its certificate signed by an authority "
                "the operator trusts, for this host name, and does the port speak TLS?"
            )
        case NewConnectionError():  # urllib3 derives it from ConnectTimeoutError
            return Unreachable(
                f"{target.endpoint} refuses connections; check storage.endpoint, and that it runs"
            )
        case ConnectTimeoutError() | ReadTimeoutError() | DeadlinePassed():
            return timed_out(target)
        case HTTPError() | OSError():
            return Unreachable(f"{target.endpoint} broke the connection ({type(error).__name__})")
        case _:
            return StoreError(f"{target.endpoint}: {target.uri}: {type(error).__name__}")


def timed_out(target: Target) -> Unreachable:
    """No answer in time."""
    return Unreachable(
        f"{target.endpoint} does not answer in time; check storage.endpoint, network policies, and "
        "that it runs"
    )


def refusal(code: str, status: int, target: Target) -> StoreError:
    """The StoreError for an S3 error code, or for the HTTP status when the code says nothing."""
    code = code if _CODE.fullmatch(code) else ""
    if code == "NoSuchKey":
        return NotFound(f"{target.uri}: no such object")
    if code == "NoSuchBucket":
        return BucketMissing(
            f"{target.endpoint} has no bucket {target.bucket!r}; create it, or correct storage.uri"
        )
    if code in _WRONG_KEYS:
        return AccessDenied(f"{target.endpoint} {_WRONG_KEYS[code]}")
    if code in _WRONG_REGION or 300 <= status < 400:
        return BadLocation(
            f"{target.endpoint} says bucket {target.bucket!r} is elsewhere ({code or status}); "
            "check storage.region and storage.endpoint"
        )
    if status in (401, 403):
        return AccessDenied(
            f"{target.endpoint} refuses access to {target.uri} ({code or status}); check "
            f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in {_WHERE}, and that their policy "
            "allows GetObject, PutObject, DeleteObject and ListBucket there"
        )
    if code in _BUSY or status == 429 or status >= 500:
        return Unreachable(f"{target.endpoint} answers {code or status}; is it healthy?")
    return StoreError(f"{target.endpoint} answers {target.uri} with {code or status}")
