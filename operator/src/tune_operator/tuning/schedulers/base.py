"""What every scheduler answers to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Protocol


class Decision(StrEnum):
    """What a scheduler makes of a result; named as in Ray."""

    CONTINUE = "CONTINUE"
    STOP = "STOP"


class Scheduler(Protocol):
    """Sees every result, in order. Its state is JSON."""

    @property
    def reason(self) -> str:
        """Why the last ``on_result`` decided as it did, for people; empty if it is plain."""

    def on_trial_add(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """A trial was suggested, or comes back."""

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> Decision:
        """A trial reported; what it shall do. Raises MissingMetricError."""

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None) -> None:
        """A trial reached its end."""

    def on_error(self, trial_id: str) -> None:
        """A trial was given up."""

    def choose_next(self, candidates: Collection[str]) -> str | None:
        """Which of these pending or paused trials to start."""

    def state(self) -> dict[str, Any]:
        """All it knows, as JSON."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned."""
