"""Schedulers: which trials run, and for how long."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Protocol

from tune_operator.api.models import Scheduler as Section


class Decision(StrEnum):
    """What a scheduler makes of a result; named as in Ray."""

    CONTINUE = "CONTINUE"


class Scheduler(Protocol):
    """Sees every result, in order. Its state is JSON."""

    def on_trial_add(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """A trial was suggested."""

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> Decision:
        """A trial reported; what it shall do."""

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


class Fifo:
    """Trials in the order of their suggestion, each to its own end.

    As in Ray, a trial that was interrupted keeps its place, so it comes before younger ones.
    """

    def on_trial_add(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """Nothing depends on the configuration."""

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> Decision:  # noqa: ARG002
        """Always CONTINUE."""
        return Decision.CONTINUE

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None) -> None:
        """Nothing depends on how trials end."""

    def on_error(self, trial_id: str) -> None:
        """Nothing depends on how trials end."""

    def choose_next(self, candidates: Collection[str]) -> str | None:
        """The first by name, which is the order of suggestion; shorter names come first."""
        return min(candidates, key=lambda name: (len(name), name), default=None)

    def state(self) -> dict[str, Any]:
        """Empty: the order is in the trials' names."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing to take over."""


def build(
    spec: Mapping[str, Any],
    *,
    metric: str,  # noqa: ARG001 - what schedulers that compare trials compare
    mode: str,  # noqa: ARG001
) -> Scheduler:
    """The scheduler of a ``scheduler`` section; raises pydantic's ValidationError."""
    Section.model_validate(spec)  # exactly one is given, and there is only one
    return Fifo()
