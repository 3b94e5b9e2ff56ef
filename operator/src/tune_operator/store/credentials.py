"""Keys of an object store, kept out of every repr, log line and message."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """An access key pair as a Secret holds it; the session token belongs to temporary keys."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
