"""What a reconcile wants done, as data. `kube.executor` carries actions out, in this order,
only after the status write they belong to has landed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AddExperimentFinalizer:
    """Put our finalizer on the experiment; nothing starts before it was observed there."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class RemoveExperimentFinalizer:
    """Let the experiment go; the last thing ever done for it."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class CreatePod:
    """Create the Pod of (trial, attempt). ``body`` is complete, tracking finalizer included.

    Ours is a Pod whose labels experiment UID, trial and attempt equal those of ``body``.
    """

    trial: str
    attempt: int
    body: Mapping[str, Any]


@dataclass(frozen=True)
class DeletePod:
    """Delete with grace, after a live read, with a UID precondition."""

    namespace: str
    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class ReleasePod:
    """Remove our tracking finalizer (testing the UID), then delete unless ``keep``."""

    namespace: str
    name: str
    uid: str
    keep: bool = False


@dataclass(frozen=True)
class EmitEvent:
    """A Kubernetes Event on the experiment. ``type`` is Normal or Warning."""

    type: str
    reason: str
    message: str


Action = (
    AddExperimentFinalizer
    | RemoveExperimentFinalizer
    | CreatePod
    | DeletePod
    | ReleasePod
    | EmitEvent
)
