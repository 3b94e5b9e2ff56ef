"""What can go wrong with an object store, in the few kinds the operator decides on.

Messages name the location and the remedy. They never hold a key, a token, a signed URL or text of
the server's answer: a tenant names the endpoint, and what it answers must not reach a status.
"""


class StoreError(Exception):
    """Something the store did or said. Not NotFound means: undecided, look again."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(StoreError):
    """The bucket answers and holds no such object."""


class AccessDenied(StoreError):
    """The keys are unknown, wrong, expired, or not allowed to do this."""


class BucketMissing(StoreError):
    """The endpoint answers and has no such bucket."""


class Unreachable(StoreError):
    """No usable answer in time: refused, time-out, DNS, TLS, 5xx, or no S3 server."""


class BadLocation(StoreError):
    """The uri, endpoint or region cannot be right: only a change of the specification helps."""
