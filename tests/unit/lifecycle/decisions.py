"""Reading a decision in a test: what goes, what stays, what people are told."""

from __future__ import annotations

from typing import Any

from tests.unit.lifecycle.builders import at, ended, pod
from tune_operator.lifecycle.actions import DeletePod, ReleasePod, RemoveExperimentFinalizer
from tune_operator.lifecycle.decide import Decision
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import Interruption

KEY = ("00000", 1)
"""The first attempt of the first trial."""


def saved(**fields: Any) -> PodView:
    """A Pod whose trainer exited 0."""
    return pod(ended(0), phase="Succeeded", **fields)


def crashed(**fields: Any) -> PodView:
    """A Pod whose trainer exited 1."""
    return pod(ended(1), phase="Failed", **fields)


def released(decision: Decision) -> list[str]:
    """UIDs of Pods that are let go and deleted."""
    return [a.uid for a in decision.actions if isinstance(a, ReleasePod) and not a.keep]


def kept(decision: Decision) -> list[str]:
    """UIDs of Pods that are let go and stay."""
    return [a.uid for a in decision.actions if isinstance(a, ReleasePod) and a.keep]


def deleted(decision: Decision) -> list[str]:
    """UIDs of Pods that are deleted with their grace."""
    return [a.uid for a in decision.actions if isinstance(a, DeletePod)]


def leaves(decision: Decision) -> bool:
    """Whether the experiment itself goes, last of all."""
    kinds = [type(action) for action in decision.actions]
    return RemoveExperimentFinalizer in kinds and kinds[-1] is RemoveExperimentFinalizer


def told(decision: Decision) -> list[str]:
    """Reasons of the events."""
    return [event.reason for event in decision.events]


def interrupted(seconds_ago: float, cls: str = "failed") -> Interruption:
    """How an earlier attempt ended."""
    return Interruption(cls, "X", "", row=16, attempt=1, iteration=0, time=at(-seconds_ago))
