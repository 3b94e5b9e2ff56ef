"""The ways an attempt can end early; each maps to one exit code (see ``runner``)."""

from __future__ import annotations


class TrainerError(Exception):
    """Base of the errors the SDK raises itself."""


class Unusable(TrainerError):
    """The store or the operator could not be used within its deadline: exit 75, nobody's fault."""


class Fenced(TrainerError):
    """Another attempt has replaced this one: commit nothing further, exit 75."""


class AttemptFailed(TrainerError):
    """The attempt has failed for a reason that the exit record names: exit 1."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
