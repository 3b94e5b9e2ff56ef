"""One consistent look at an experiment: everything `decide` may know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from tune_operator.api import constants
from tune_operator.api.models import TuneExperimentSpec
from tune_operator.lifecycle.evidence import Evidence, ExitKnowledge, Unread
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_trainer.protocol.keys import CheckpointRef

AttemptKey = tuple[str, int]
"""(trial name, attempt)."""

TEMPLATE_GRACE = 30
"""Seconds Kubernetes gives a Pod that names no grace period of its own."""


@dataclass(frozen=True)
class Experiment:
    """The object, parsed."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleted: datetime | None
    has_finalizer: bool
    spec: TuneExperimentSpec
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def grace_seconds(self) -> int:
        """Grace period of its Pods: the template's own, else ten seconds less than the bound.

        The ten seconds are for settling, so that an orderly stop ends within the bound.
        """
        template = self.spec.template or {}
        given = (template.get("spec") or {}).get("terminationGracePeriodSeconds")
        if isinstance(given, int):
            return given
        return max(1, self.spec.stop_grace_period_seconds - 10)

    @property
    def stop_bound(self) -> timedelta:
        """The longest a deletion may take (DESIGN 5.4)."""
        return timedelta(
            seconds=max(self.spec.stop_grace_period_seconds, self.grace_seconds + TEMPLATE_GRACE)
        )


@dataclass(frozen=True)
class Progress:
    """What a bound attempt reported since the last status write; ``objective`` may be NaN."""

    attempt: int
    seq: int = 0
    iteration: int = 0
    objective: float | None = None
    checkpoint: CheckpointRef | None = None
    completed: bool = False


def in_order(names: Collection[str]) -> str | None:
    """The first by name, which is the order in which trials are made."""
    return min(names, default=None)


@dataclass(frozen=True)
class Observation:
    """``may_start``: accepted, finalizer observed, run held, store answering.

    ``choose_next`` is the scheduler's say in which of the trials that could start does.

    ``exits`` and ``committed`` hold what was read for the attempts `needs_store` named;
    ``silent_since`` says since when a trainer is known to be terminal.
    """

    now: datetime
    experiment: Experiment
    state: RunState
    pods: tuple[PodView, ...]
    total: int
    may_start: bool
    progress: Mapping[str, Progress] = field(default_factory=dict)
    exits: Mapping[AttemptKey, ExitKnowledge] = field(default_factory=dict)
    committed: Mapping[str, tuple[CheckpointRef, ...]] = field(default_factory=dict)
    silent_since: Mapping[AttemptKey, datetime] = field(default_factory=dict)
    choose_next: Callable[[Collection[str]], str | None] = in_order

    def pod_of(self, trial: TrialState) -> PodView | None:
        """The Pod of the trial's current attempt: the bound one, or the only one if none is.

        A bound Pod is known by its UID alone: labels may be edited, a UID may not.
        """
        if trial.pod_uid:
            return self._by_uid.get(trial.pod_uid)
        return self._by_attempt.get((trial.name, trial.attempt))

    @cached_property
    def _by_uid(self) -> dict[str, PodView]:
        return {pod.uid: pod for pod in self.pods}

    @cached_property
    def _by_attempt(self) -> dict[AttemptKey, PodView]:
        # Of several the first: they come in no order, and any will do.
        return {(pod.trial, pod.attempt): pod for pod in reversed(self.pods)}

    def evidence(self, trial: TrialState) -> Evidence:
        """The input of the decision table for the trial's open attempt."""
        key = (trial.name, trial.attempt)
        committed = any(ref.attempt == trial.attempt for ref in self.committed.get(trial.name, ()))
        return Evidence(
            now=self.now,
            bound_uid=trial.pod_uid,
            stop_intent=trial.stop_intent,
            pod=self.pod_of(trial),
            exit=self.exits.get(key, Unread.NOT_ASKED),
            start_timeout=timedelta(seconds=self.experiment.spec.failure.start_timeout_seconds),
            # A commit in this very attempt breaks the row of endings without one.
            streak=0 if committed else trial.streak,
            silent_since=self.silent_since.get(key),
        )


def needs_store(observation: Observation) -> tuple[AttemptKey, ...]:
    """Open attempts whose exit record and manifests must be read before a row is chosen:
    the trainer is terminal, the Pod is gone, or ``/complete`` came (DESIGN 5.2, step 5).
    """
    wanted = []
    for trial in observation.state.open_attempts:
        progress = observation.progress.get(trial.name)
        announced = bool(progress and progress.completed and progress.attempt == trial.attempt)
        if announced or observation.evidence(trial).over:
            wanted.append((trial.name, trial.attempt))
    return tuple(wanted)


def pod_name(experiment: str, digest: str, trial: str, attempt: int) -> str:
    """``<experiment>-<5 characters of hash(UID)>-<trial>-<attempt>``."""
    return f"{experiment}-{digest}-{trial}-{attempt}"


def labels(experiment: Experiment, trial: str, attempt: int) -> dict[str, str]:
    """Identity of an attempt's Pod."""
    return {
        constants.LABEL_EXPERIMENT: experiment.name,
        constants.LABEL_EXPERIMENT_UID: experiment.uid,
        constants.LABEL_TRIAL: trial,
        constants.LABEL_ATTEMPT: str(attempt),
    }
