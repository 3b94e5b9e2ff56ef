"""What became of each action: data for the next decision, so that no error gets lost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_operator.kube.errors import KubeError, TooManyRequests
from tune_operator.lifecycle.actions import Action, CreatePod


@dataclass(frozen=True)
class Done:
    """The wished state is reached, whether we did it or found it so."""

    action: Action


@dataclass(frozen=True)
class Created:
    """The Pod was made; `pod` is the raw object with its UID."""

    action: CreatePod
    pod: Mapping[str, Any]


@dataclass(frozen=True)
class AlreadyOurs:
    """The Pod of this attempt exists: an earlier create landed without our hearing of it."""

    action: CreatePod
    pod: Mapping[str, Any]


@dataclass(frozen=True)
class AlreadyForeign:
    """Something else has the Pod's name; `pod` is it. It is never touched."""

    action: CreatePod
    pod: Mapping[str, Any]


@dataclass(frozen=True)
class QuotaExceeded:
    """A ResourceQuota refused the Pod; the message names it."""

    action: CreatePod
    message: str


@dataclass(frozen=True)
class Throttled:
    """The API server asks to be left alone for `retry_after` seconds."""

    action: Action
    retry_after: float


@dataclass(frozen=True)
class Failed:
    """Anything else. After a Transient error a write may have been done all the same."""

    action: Action
    error: KubeError


@dataclass(frozen=True)
class NotTried:
    """Left out because of how an earlier action ended."""

    action: Action


Outcome = (
    Done | Created | AlreadyOurs | AlreadyForeign | QuotaExceeded | Throttled | Failed | NotTried
)


def first_error(outcomes: Iterable[Outcome]) -> KubeError | None:
    """Why not everything was done: the error that says when to try again, if any does."""
    for outcome in outcomes:
        match outcome:
            case Throttled(retry_after=seconds):
                return TooManyRequests("the API server is busy", retry_after=seconds)
            case Failed(error=error):
                return error
    return None
