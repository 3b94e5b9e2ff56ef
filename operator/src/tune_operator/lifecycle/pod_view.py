"""What the decision table reads of a Pod, as a small immutable record.

The informer keeps these instead of whole Pods: memory stays small, and a Pod update that changes
nothing here wakes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tune_operator.api import constants
from tune_operator.lifecycle import instants

MESSAGE_LIMIT = 512

STATUS_UNKNOWN = "ContainerStatusUnknown"
"""The kubelet's reason for a container whose end it did not see."""


@dataclass(frozen=True)
class TrainerView:
    """The container ``trainer``: it alone says whether the attempt is over."""

    started: bool = False
    terminated: bool = False
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    waiting_reason: str = ""
    waiting_message: str = ""
    finished: datetime | None = None
    running_since: datetime | None = None


@dataclass(frozen=True)
class PodView:
    """One Pod of an attempt. ``attempt`` is 0 when the label is missing or no number.

    ``held_by`` are finalizers of others.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    experiment_uid: str
    trial: str
    attempt: int
    tracked: bool
    node: str
    phase: str
    reason: str
    message: str
    created: datetime | None
    deleted: datetime | None
    scheduled: datetime | None
    gated: bool
    unschedulable: str
    disruption_target: str
    termination_target: str
    trainer: TrainerView
    experiment: str = ""
    held_by: tuple[str, ...] = ()

    @property
    def never_placed(self) -> bool:
        """Deleted before it had a node: no kubelet will ever write its end."""
        return self.deleted is not None and not self.node

    @property
    def terminal(self) -> bool:
        """The trainer is over, whatever a sidecar does."""
        return self.trainer.terminated or self.phase in ("Succeeded", "Failed") or self.never_placed

    @property
    def succeeded(self) -> bool:
        """By phase once the Pod has one that is final, else by the trainer's exit code."""
        if self.phase in ("Succeeded", "Failed"):
            return self.phase == "Succeeded"
        return self.trainer.terminated and self.trainer.exit_code == 0

    @property
    def failed(self) -> bool:
        """Terminal and not succeeded."""
        return self.terminal and not self.succeeded


def project(pod: Mapping[str, Any]) -> PodView:
    """Read a raw Pod."""
    meta, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    labels = meta.get("labels") or {}
    attempt = labels.get(constants.LABEL_ATTEMPT, "")
    finalizers = meta.get("finalizers") or []
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        experiment_uid=labels.get(constants.LABEL_EXPERIMENT_UID, ""),
        trial=labels.get(constants.LABEL_TRIAL, ""),
        attempt=int(attempt) if attempt.isdecimal() else 0,
        tracked=constants.POD_FINALIZER in finalizers,
        node=spec.get("nodeName", ""),
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", "")[:MESSAGE_LIMIT],
        created=instants.parse(meta.get("creationTimestamp")),
        deleted=instants.parse(meta.get("deletionTimestamp")),
        scheduled=_since(scheduled) if scheduled.get("status") == "True" else None,
        gated=scheduled.get("reason") == "SchedulingGated",
        unschedulable=_unschedulable(scheduled),
        disruption_target=_true_reason(conditions, "DisruptionTarget"),
        termination_target=_true_reason(conditions, "TerminationTarget"),
        trainer=_trainer(status.get("containerStatuses") or []),
        experiment=labels.get(constants.LABEL_EXPERIMENT, ""),
        held_by=tuple(name for name in finalizers if name != constants.POD_FINALIZER),
    )


def _trainer(statuses: list[Mapping[str, Any]]) -> TrainerView:
    for status in statuses:
        if status.get("name") != constants.TRAINER_CONTAINER:
            continue
        state = status.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None:
            return TrainerView(
                started=_ever(ended.get("startedAt")) or _lost(status),
                terminated=True,
                exit_code=ended.get("exitCode"),
                reason=ended.get("reason", ""),
                message=ended.get("message", "")[-MESSAGE_LIMIT:],
                finished=instants.parse(ended.get("finishedAt")),
            )
        running = state.get("running")
        return TrainerView(
            started=running is not None or _lost(status),
            waiting_reason=waiting.get("reason", ""),
            waiting_message=waiting.get("message", "")[:MESSAGE_LIMIT],
            running_since=instants.parse((running or {}).get("startedAt")),
        )
    return TrainerView()


def _ever(started: str | None) -> bool:
    """A container that never ran is reported terminated too: without an instant if its Pod was
    rejected, with the epoch if the runtime could not start it (StartError).
    """
    instant = instants.parse(started)
    return instant is not None and instant.timestamp() > 0


def _lost(status: Mapping[str, Any]) -> bool:
    """It ran, and its end was lost: the runtime had removed it before the kubelet asked.

    After an eviction by the kubelet this is common. It is then shown as waiting to be created,
    with an earlier life (there is no other: nothing is restarted), or as terminated without an
    instant, like one that never ran, but with the ID it had.
    """
    if status.get("restartCount") or (status.get("lastState") or {}).get("terminated"):
        return True
    ended = (status.get("state") or {}).get("terminated") or {}
    return ended.get("reason") == STATUS_UNKNOWN and bool(status.get("containerID"))


def _true_reason(conditions: Mapping[str, Mapping[str, Any]], kind: str) -> str:
    condition = conditions.get(kind, {})
    return (condition.get("reason") or kind) if condition.get("status") == "True" else ""


def _since(condition: Mapping[str, Any]) -> datetime | None:
    return instants.parse(condition.get("lastTransitionTime"))


def _unschedulable(scheduled: Mapping[str, Any]) -> str:
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return str(scheduled.get("message", "unschedulable"))[:MESSAGE_LIMIT]
    return ""
