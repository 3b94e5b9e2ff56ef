"""One consistent look at an experiment: everything `decide` may know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from tune_operator.api import constants
from tune_operator.api.models import TuneExperimentSpec
from tune_operator.lifecycle.evidence import Evidence, ExitKnowledge, Unread
from tune_operator.lifecycle.node_view import NodeKnowledge, NodeUnread, NodeView
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.result import Result

AttemptKey = tuple[str, int]
"""(trial name, attempt)."""


class Remains(StrEnum):
    """What the store still holds of the run."""

    NOTHING = "nothing"
    ALL = "all"
    GOING = "marked to be deleted, so that every attempt was settled or fenced before"


HELD = timedelta(seconds=30)
"""A Pod that is still there so long after its end is worth a word."""

TEMPLATE_GRACE = 30
"""Seconds Kubernetes gives a Pod that names no grace period of its own."""


@dataclass(frozen=True)
class Experiment:
    """The object, parsed.

    ``accepted_generation`` is that of ``spec`` when the object holds a later specification, which
    was refused.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    deleted: datetime | None
    has_finalizer: bool
    spec: TuneExperimentSpec
    labels: Mapping[str, str] = field(default_factory=dict)
    accepted_generation: int | None = None

    @property
    def outdated(self) -> bool:
        """Whether ``spec`` is only the last one that was accepted."""
        return self.accepted_generation is not None

    @property
    def in_force(self) -> int:
        """The generation of ``spec``."""
        return self.generation if self.accepted_generation is None else self.accepted_generation

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
    """What a bound attempt reported; ``results`` are those that are not journaled yet.

    ``objective`` may be NaN.
    """

    attempt: int
    seq: int = 0
    iteration: int = 0
    objective: float | None = None
    checkpoint: CheckpointRef | None = None
    completed: bool = False
    results: tuple[Result, ...] = ()

    def journaled(self, seq: int) -> Progress:
        """Without the results up to this sequence, which need not be kept any longer."""
        if not self.results or self.results[0].seq > seq:
            return self
        return replace(self, results=tuple(r for r in self.results if r.seq > seq))


def in_order(names: Collection[str]) -> str | None:
    """The first by name, which is the order in which trials are made."""
    return min(names, default=None)


def no_config(_: int) -> Mapping[str, Any]:
    """Where no trial is created."""
    return {}


@dataclass(frozen=True)
class Observation:
    """``may_record``: the run is held and its journal takes records. ``may_start``: accepted and
    the finalizer was observed as well.

    ``choose_next`` is the scheduler's say in which of the trials that could start does, ``config``
    the configuration of a new trial by index, ``uri`` where the run lies. ``shown`` are attempts by
    trial as the status tells them: a bucket that was restored knows less.

    ``exits``, ``committed`` and ``recovered`` (results that no report brought) hold what was read
    for the attempts `needs_store` named; ``nodes`` what is known of nodes by name.
    ``silent_since`` says since when a trainer is known to be terminal, ``heard`` when an attempt
    last reported, ``ready_since`` since when anybody could. ``unexplained`` are UIDs of deleted
    Pods that may have gone with their experiment or namespace: nobody could say, yet. ``remains``
    matters where all of the run is to be deleted.
    """

    now: datetime
    experiment: Experiment
    state: RunState
    pods: tuple[PodView, ...]
    total: int
    may_start: bool
    may_record: bool = True
    progress: Mapping[str, Progress] = field(default_factory=dict)
    exits: Mapping[AttemptKey, ExitKnowledge] = field(default_factory=dict)
    committed: Mapping[str, tuple[CheckpointRef, ...]] = field(default_factory=dict)
    recovered: Mapping[AttemptKey, tuple[Result, ...]] = field(default_factory=dict)
    nodes: Mapping[str, NodeKnowledge] = field(default_factory=dict)
    silent_since: Mapping[AttemptKey, datetime] = field(default_factory=dict)
    heard: Mapping[AttemptKey, datetime] = field(default_factory=dict)
    ready_since: datetime | None = None
    choose_next: Callable[[Collection[str]], str | None] = in_order
    config: Callable[[int], Mapping[str, Any]] = no_config
    uri: str = ""
    shown: Mapping[str, int] = field(default_factory=dict)
    unexplained: frozenset[str] = frozenset()
    remains: Remains = Remains.ALL

    @property
    def late(self) -> bool:
        """Past the bound of a deletion."""
        deleted = self.experiment.deleted
        return deleted is not None and self.now >= deleted + self.experiment.stop_bound

    @property
    def held(self) -> str:
        """Of a Pod that is over and let go by us, and stays because of somebody else."""
        for pod in self.pods:
            late = pod.deleted is not None and self.now > pod.deleted + HELD
            if late and pod.terminal and pod.held_by and not pod.tracked:
                names = ", ".join(pod.held_by)
                return f"Pod {pod.name} has ended, but finalizer {names} of somebody else holds it"
        return ""

    def pod_of(self, trial: TrialState) -> PodView | None:
        """The Pod of the trial's current attempt: the bound one, or the only one if none is.

        A bound Pod is known by its UID alone: labels may be edited, a UID may not.
        """
        if trial.pod_uid:
            return self._by_uid.get(trial.pod_uid)
        return self._by_attempt.get((trial.name, trial.attempt))

    def pods_of(self, name: str) -> list[PodView]:
        """All Pods that carry the trial's name."""
        return self._by_trial.get(name, [])

    @cached_property
    def _by_uid(self) -> dict[str, PodView]:
        return {pod.uid: pod for pod in self.pods}

    @cached_property
    def _by_attempt(self) -> dict[AttemptKey, PodView]:
        # Of several the first: they come in no order, and any will do.
        return {(pod.trial, pod.attempt): pod for pod in reversed(self.pods)}

    @cached_property
    def _by_trial(self) -> dict[str, list[PodView]]:
        found: dict[str, list[PodView]] = {}
        for pod in self.pods:
            found.setdefault(pod.trial, []).append(pod)
        return found

    def evidence(self, trial: TrialState) -> Evidence:
        """The input of the decision table for the trial's open attempt."""
        key = (trial.name, trial.attempt)
        committed = any(ref.attempt == trial.attempt for ref in self.committed.get(trial.name, ()))
        pod = self.pod_of(trial)
        heard = [at for at in (self.heard.get(key), self.ready_since) if at is not None]
        return Evidence(
            now=self.now,
            bound_uid=trial.pod_uid,
            stop_intent=trial.stop_intent,
            pod=pod,
            exit=self.exits.get(key, Unread.NOT_ASKED),
            failure=self.experiment.spec.failure,
            # A commit in this very attempt breaks the row of endings without one.
            streak=0 if committed else trial.streak,
            silent_since=self.silent_since.get(key),
            node=self.nodes.get(pod.node, NodeUnread.NOT_ASKED) if pod else NodeUnread.NOT_ASKED,
            heard=max(heard, default=None),
        )

    def in_doubt(self, trial: TrialState) -> bool:
        """Whether somebody deleted the Pod of the attempt and it matters who, which is not known.

        With a stop intent it does not: that says what the end of the attempt is.
        """
        pod = self.pod_of(trial)
        return pod is not None and pod.uid in self.unexplained and not trial.stop_intent

    def wants_ending(self, trial: TrialState) -> bool:
        """Whether exit record and manifests must be read before a row is chosen for the attempt:
        the trainer is terminal, the Pod is gone or about to be fenced, ``/complete`` came, or the
        experiment goes without it (DESIGN 5.2, step 5).
        """
        progress = self.progress.get(trial.name)
        if progress and progress.completed and progress.attempt == trial.attempt:
            return True
        return self.late or self.evidence(trial).ending


def needs_store(observation: Observation) -> tuple[TrialState, ...]:
    """Trials with an open attempt whose ending must be read from the store."""
    return tuple(filter(observation.wants_ending, observation.state.open_attempts))


def needs_pod(observation: Observation) -> tuple[PodView, ...]:
    """Pods that must be read live, because their attempts would be given up as they look."""
    pods = [
        observation.pod_of(trial)
        for trial in observation.state.open_attempts
        if observation.evidence(trial).giving_up
    ]
    return tuple(pod for pod in pods if pod is not None)


def needs_node(observation: Observation) -> tuple[str, ...]:
    """Nodes that must be read live, because a Pod of theirs should have ended long ago (row 6).

    What the watch knows is enough while it is no reason to fence: looks come with every report.
    """
    overdue = set()
    for trial in observation.state.open_attempts:
        pod = observation.pod_of(trial)
        evidence = observation.evidence(trial)
        doubtful = evidence.given_up or not isinstance(evidence.node, NodeView)
        if pod is not None and pod.node and evidence.overdue and doubtful:
            overdue.add(pod.node)
    return tuple(sorted(overdue))


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
