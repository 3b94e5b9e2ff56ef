"""A small cluster: an API server with conditional writes, Pods with UIDs and finalizers, a store.

It keeps the rules that races are made of and nothing else. Every write is shown to the history,
which holds the promises against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.model.history import History
from tune_operator.api import constants
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.pod_view import PodView, project
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef

NAMESPACE, EXPERIMENT, UID = "team-a", "digits", "5f0c9d4e-0000-4000-8000-000000000001"
GRACE = timedelta(seconds=20)


class Conflict(Exception):
    """The object changed since it was read (409)."""


class Lost(Exception):
    """No answer came: the write may have happened or not."""


@dataclass(frozen=True)
class Experiment:
    """The object, as far as it matters. ``version`` is its resourceVersion."""

    version: int = 1
    finalizer: bool = False
    deleted: datetime | None = None
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Pod:
    """A Pod. ``confirmed``: its kubelet agreed that it may go."""

    name: str
    uid: str
    trial: str
    attempt: int
    version: int
    tracked: bool = True
    deleted: datetime | None = None
    node: str = ""
    scheduled: datetime | None = None
    phase: str = "Pending"
    reason: str = ""
    target: bool = False
    trainer: Mapping[str, Any] | None = None
    confirmed: bool = False

    @property
    def view(self) -> PodView:
        """What the operator's informer would keep of it."""
        conditions = []
        if self.scheduled:
            since = instants.render(self.scheduled)
            conditions.append(
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": since}
            )
        if self.target:
            conditions.append({"type": "DisruptionTarget", "status": "True", "reason": "Evicted"})
        containers = [{"name": "trainer", "state": self.trainer}] if self.trainer else []
        return project(
            {
                "metadata": {
                    "name": self.name,
                    "namespace": NAMESPACE,
                    "uid": self.uid,
                    "resourceVersion": str(self.version),
                    "deletionTimestamp": instants.render(self.deleted),
                    "finalizers": [constants.POD_FINALIZER] if self.tracked else [],
                    "labels": {
                        constants.LABEL_EXPERIMENT_UID: UID,
                        constants.LABEL_TRIAL: self.trial,
                        constants.LABEL_ATTEMPT: str(self.attempt),
                    },
                },
                "spec": {"nodeName": self.node} if self.node else {},
                "status": {
                    "phase": self.phase,
                    "reason": self.reason,
                    "conditions": conditions,
                    "containerStatuses": containers,
                },
            }
        )


@dataclass
class Store:
    """Manifests and exit records; ``up`` False means that nobody gets an answer."""

    up: bool = True
    claims: list[int] = field(default_factory=list)
    manifests: dict[str, list[CheckpointRef]] = field(default_factory=dict)
    exits: dict[tuple[str, int], ExitRecord] = field(default_factory=dict)

    def answers(self) -> bool:
        """Whether it does now; ask again after every await."""
        return self.up


@dataclass
class Cluster:
    """API server and store, and the clock everybody agrees on."""

    history: History
    now: datetime = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    version: int = 1
    born: int = 0
    experiment: Experiment | None = field(default_factory=Experiment)
    pods: dict[str, Pod] = field(default_factory=dict)
    store: Store = field(default_factory=Store)

    # --- the experiment -----------------------------------------------------------------------

    def write_status(self, version: int, status: Mapping[str, Any]) -> Experiment:
        """PUT /status on the version it was decided from. Raises Conflict."""
        known = self.experiment
        if known is None or known.version != version:
            raise Conflict
        if status != known.status:
            self.history.status_written(self, known.status, status)
            self.experiment = replace(known, status=status, version=self.tick())
        assert self.experiment is not None
        return self.experiment

    def set_finalizer(self, *, held: bool) -> Experiment | None:
        """Add or remove the operator's finalizer; without it a deleted object is gone."""
        known = self.experiment
        if known is not None and known.finalizer != held:
            self.experiment = replace(known, finalizer=held, version=self.tick())
            if known.deleted and not held:
                self.experiment = None
        return self.experiment

    def delete_experiment(self) -> None:
        """``kubectl delete``."""
        known = self.experiment
        if known is None or known.deleted:
            return
        self.experiment = (
            replace(known, deleted=self.now, version=self.tick()) if known.finalizer else None
        )

    # --- Pods ---------------------------------------------------------------------------------

    def create_pod(self, name: str, trial: str, attempt: int) -> Pod:
        """A new Pod, or the one that has the name already."""
        if name not in self.pods:
            self.history.pod_created(trial, attempt)
            self.born += 1
            uid = f"pod-{self.born}"
            self.pods[name] = Pod(name, uid, trial, attempt, self.tick())
            self.history.uids[uid] = (trial, attempt)
        return self.pods[name]

    def by_uid(self, uid: str) -> Pod | None:
        """The Pod of this UID, if the object still exists."""
        return next((pod for pod in self.pods.values() if pod.uid == uid), None)

    def delete_pod(self, pod: Pod) -> None:
        """DELETE with grace; again it changes nothing."""
        if pod.deleted is None:
            self.change(pod, deleted=self.now + (GRACE if pod.node else timedelta()))

    def change(self, pod: Pod, **fields: Any) -> None:
        """Write fields of a Pod; an object nothing holds any more is gone."""
        if any(getattr(pod, name) != value for name, value in fields.items()):
            for name, value in fields.items():
                setattr(pod, name, value)
            pod.version = self.tick()
        if pod.deleted and not pod.tracked and (pod.confirmed or not pod.node):
            self.pods.pop(pod.name, None)
            self.tick()

    def tick(self) -> int:
        """The next resourceVersion; it counts every write there ever was."""
        self.version += 1
        return self.version
