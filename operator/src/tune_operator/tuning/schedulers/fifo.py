"""Trials in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tune_operator.tuning.schedulers.base import Decision


class Fifo:
    """Trials in the order of their suggestion, each to its own end.

    As in Ray, a trial that was interrupted keeps its place, so it comes before younger ones.
    """

    reason = ""
    """Nothing is to be explained."""

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
