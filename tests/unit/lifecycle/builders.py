"""Small builders of what the lifecycle reads: specifications, raw Pods, exit records, trials."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tune_operator.api import constants
from tune_operator.api.failure import Failure
from tune_operator.api.models import TuneExperimentSpec
from tune_operator.lifecycle.decide import Decision, decide
from tune_operator.lifecycle.evidence import Evidence, ExitKnowledge, Unread
from tune_operator.lifecycle.instants import render
from tune_operator.lifecycle.node_view import NodeKnowledge, NodeUnread, NodeView
from tune_operator.lifecycle.observation import Experiment, Observation
from tune_operator.lifecycle.pod_view import PodView, project
from tune_operator.lifecycle.trial_state import Phase, RunState, StopIntent, TrialState
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef, trial_name
from tune_trainer.protocol.result import Result

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UID = "5f0c9d4e-0000-4000-8000-000000000001"


def at(seconds: float) -> datetime:
    """That many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def spec(**changes: Any) -> TuneExperimentSpec:
    """A specification in the short form; ``changes`` replace top-level fields."""
    raw: dict[str, Any] = {
        "objective": {"metric": "accuracy", "mode": "max"},
        "numSamples": 4,
        "maxConcurrentTrials": 2,
        "search": {"space": {"lr": {"uniform": {"lower": 0.0, "upper": 1.0}}}},
        "storage": {
            "uri": "s3://tune/team-a",
            "endpoint": "https://minio.storage.svc:9000",
            "credentials": {"mode": "Secret", "secretRef": {"name": "digits-storage"}},
        },
        "trainer": {"image": "ghcr.io/example/tune-trainer:1", "entrypoint": "digits:Digits"},
    }
    raw.update(changes)
    return TuneExperimentSpec.model_validate({k: v for k, v in raw.items() if v is not None})


def experiment(*, deleted: datetime | None = None, **changes: Any) -> Experiment:
    """An experiment that carries our finalizer."""
    return Experiment(
        namespace="team-a",
        name="digits",
        uid=UID,
        generation=1,
        deleted=deleted,
        has_finalizer=True,
        spec=spec(**changes),
    )


def condition(kind: str, reason: str = "", *, status: str = "True", age: float = 60) -> Any:
    """A Pod condition that changed ``age`` seconds before NOW."""
    entry = {"type": kind, "status": status, "lastTransitionTime": render(at(-age))}
    return {**entry, "reason": reason} if reason else entry


def ended(code: int, reason: str = "", *, started: str | None = "2026-03-01T11:59:00Z") -> Any:
    """State of a container that is over."""
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": started,
            "finishedAt": "2026-03-01T12:00:00Z",
        }
    }


def waiting(reason: str, message: str = "") -> Any:
    """State of a container that does not run yet."""
    return {"waiting": {"reason": reason, "message": message}}


RUNNING = {"running": {"startedAt": "2026-03-01T11:59:00Z"}}


def raw_pod(
    trainer: Mapping[str, Any] | None = None,
    *,
    trial: str = "00000",
    attempt: int = 1,
    uid: str = "pod-1",
    phase: str = "Running",
    reason: str = "",
    message: str = "",
    conditions: tuple[Any, ...] = (),
    deleted: datetime | None = None,
    node: str = "node-1",
    tracked: bool = True,
    others: tuple[Any, ...] = (),
) -> dict[str, Any]:
    """A Pod as the API server shows it; ``others`` are statuses of more containers."""
    scheduled = [condition("PodScheduled")] if node else []
    status: dict[str, Any] = {"phase": phase, "conditions": [*scheduled, *conditions]}
    if reason:
        status.update({"reason": reason, "message": message})
    statuses = [{"name": "trainer", "state": dict(trainer)}] if trainer is not None else []
    status["containerStatuses"] = [*others, *statuses]
    metadata: dict[str, Any] = {
        "name": f"digits-abcde-{trial}-{attempt}",
        "namespace": "team-a",
        "uid": uid,
        "resourceVersion": "42",
        "creationTimestamp": render(at(-120)),
        "labels": {
            constants.LABEL_EXPERIMENT: "digits",
            constants.LABEL_EXPERIMENT_UID: UID,
            constants.LABEL_TRIAL: trial,
            constants.LABEL_ATTEMPT: str(attempt),
        },
        "finalizers": [constants.POD_FINALIZER] if tracked else [],
    }
    if deleted:
        metadata["deletionTimestamp"] = render(deleted)
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


def pod(trainer: Mapping[str, Any] | None = None, **fields: Any) -> PodView:
    """The view of such a Pod."""
    return project(raw_pod(trainer, **fields))


def record(
    outcome: Outcome,
    *,
    attempt: int = 1,
    trial: str = "00000",
    iteration: int = 0,
    metrics: Mapping[str, Any] | None = None,
    signal: str = "",
    reason: str = "",
    message: str = "",
) -> ExitRecord:
    """An exit record of a trial."""
    return ExitRecord(
        experiment="digits",
        trial=trial,
        attempt=attempt,
        outcome=outcome,
        reason=reason or outcome.value,
        message=message,
        iteration=iteration,
        time="2026-03-01T12:00:00Z",
        signal=signal,
        last_result=Result(1, metrics) if metrics is not None else None,
    )


COMPLETED = record(Outcome.COMPLETED)
STOPPED = record(Outcome.STOPPED)
INTERRUPTED = record(Outcome.INTERRUPTED, signal="SIGTERM")
FAILED = record(Outcome.FAILED, reason="ValueError", message="bad batch")


def evidence(
    view: PodView | None,
    known: ExitKnowledge = None,
    *,
    intent: StopIntent = StopIntent.NONE,
    bound: bool = True,
    streak: int = 0,
    silent: float | None = None,
    now: datetime = NOW,
    node: NodeKnowledge = NodeUnread.NOT_ASKED,
    heard: float | None = None,
    **failure: Any,
) -> Evidence:
    """Evidence of a bound attempt whose record is known (None: the store has none).

    ``silent`` and ``heard`` are seconds ago; ``failure`` are fields of that section.
    """
    return Evidence(
        now=now,
        bound_uid="pod-1" if bound else "",
        stop_intent=intent,
        pod=view,
        exit=known,
        failure=failing(**failure),
        streak=streak,
        silent_since=None if silent is None else at(-silent),
        node=node,
        heard=None if heard is None else at(-heard),
    )


def failing(**fields: Any) -> Failure:
    """The section ``failure`` with these fields, named as in the API."""
    return Failure.model_validate(fields)


def rule(action: str, *codes: int, operator: str = "In") -> dict[str, Any]:
    """One of ``failure.rules``."""
    return {"action": action, "onExitCodes": {"operator": operator, "values": list(codes)}}


def node(ready: str = "True", *, age: float = 300, **fields: Any) -> NodeView:
    """A node that has been so for ``age`` seconds."""
    return NodeView("node-1", "7", ready=ready, since=at(-age), **fields)


def trial(index: int = 0, **fields: Any) -> TrialState:
    """A trial with its first attempt open and bound to pod-1, unless told otherwise."""
    given: dict[str, Any] = {
        "phase": Phase.RUNNING,
        "attempt": 1,
        "open": True,
        "pod_uid": "pod-1",
        "started": at(-300),
    }
    given.update(fields)
    return TrialState(trial_name(index), **given)


def idle(index: int = 0, **fields: Any) -> TrialState:
    """A trial whose attempt has been settled."""
    return trial(index, **{"phase": Phase.PENDING, "open": False, "pod_uid": "", **fields})


def refs(*texts: str) -> tuple[CheckpointRef, ...]:
    """Checkpoints in their short form."""
    return tuple(CheckpointRef.parse(text) for text in texts)


def observation(
    *trials: TrialState,
    pods: tuple[PodView, ...] = (),
    of: Experiment | None = None,
    now: datetime = NOW,
    total: int = 4,
    may_start: bool = True,
    run: Mapping[str, Any] | None = None,
    **read: Any,
) -> Observation:
    """A look at an experiment; ``run`` are more fields of its state, ``read`` what was read for it:
    progress, exits, committed, recovered, nodes, silent_since.
    """
    given: dict[str, Any] = {"started": at(-300) if trials else None, "generation": 1}
    return Observation(
        now=now,
        experiment=of or experiment(),
        state=RunState(trials=trials, **{**given, **(run or {})}),
        pods=pods,
        total=total,
        may_start=may_start,
        **read,
    )


def step(*trials: TrialState, **fields: Any) -> Decision:
    """What is decided on such a look."""
    return decide(observation(*trials, **fields))


NOT_ASKED, UNDECIDED = Unread.NOT_ASKED, Unread.UNDECIDED
