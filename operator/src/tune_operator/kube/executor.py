"""Carries decided actions out against the API server. It decides nothing: it reports.

Every destructive step reads the object live and is tied to its UID, because the decision came from
a cache. What is gone already counts as done, so a repetition after a crash does no harm.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Generic

from tune_operator.api.constants import (
    EXPERIMENT_FINALIZER,
    LABEL_ATTEMPT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
    POD_FINALIZER,
)
from tune_operator.kube import patches
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import (
    AlreadyExists,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    TooManyRequests,
)
from tune_operator.kube.events import EventRecorder
from tune_operator.kube.informer import Informer
from tune_operator.kube.outcomes import (
    AlreadyForeign,
    AlreadyOurs,
    Created,
    Done,
    Failed,
    NotTried,
    Outcome,
    QuotaExceeded,
    Throttled,
)
from tune_operator.kube.record_store import T
from tune_operator.kube.resources import EXPERIMENTS, PODS, Resource
from tune_operator.kube.transport import Object
from tune_operator.lifecycle.actions import (
    Action,
    AddExperimentFinalizer,
    CreatePod,
    DeletePod,
    EmitEvent,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.obs.metrics import Metrics

MAX_PARALLEL = 16  # requests in flight per experiment
IDENTITY_LABELS = (LABEL_EXPERIMENT_UID, LABEL_TRIAL, LABEL_ATTEMPT)

MakePatch = Callable[[Mapping[str, Any]], patches.Patch | None]


class Executor(Generic[T]):
    """Actions of one kind that stand together run in parallel; kinds keep their order.

    An API server that asks to be left alone (429) is: what was not sent by then is not tried.
    """

    def __init__(
        self,
        kube: Kube,
        informer: Informer[T],
        recorder: EventRecorder,
        metrics: Metrics | None = None,
    ) -> None:
        self._kube = kube
        self._informer = informer
        self._recorder = recorder
        self._metrics = metrics or Metrics()

    async def run(self, experiment: Mapping[str, Any], actions: Sequence[Action]) -> list[Outcome]:
        """One outcome per action, in their order; raises no KubeError.

        experiment: the raw object that events are about.
        """
        outcomes: list[Outcome] = []
        for kind, group in groupby(actions, type):
            batch = list(group)
            if kind is not EmitEvent and _throttled(outcomes):
                outcomes += [NotTried(action) for action in batch]
            elif kind is RemoveExperimentFinalizer and _any_open(outcomes):
                # With the experiment gone nobody would look for what is still to be released.
                outcomes += [NotTried(action) for action in batch]
            elif kind is CreatePod:
                outcomes += await self._slowly(batch)
            else:
                outcomes += await self._together(experiment, batch)
        return outcomes

    async def _slowly(self, creates: Sequence[Action]) -> list[Outcome]:
        """1, 2, 4, ... at a time, until one is refused: the rest would be refused as well."""
        outcomes: list[Outcome] = []
        size = 1
        while len(outcomes) < len(creates):
            batch = creates[len(outcomes) : len(outcomes) + size]
            outcomes += await self._together({}, batch)
            if any(isinstance(o, QuotaExceeded | Throttled | Failed) for o in outcomes):
                return outcomes + [NotTried(action) for action in creates[len(outcomes) :]]
            size = min(2 * size, MAX_PARALLEL)
        return outcomes

    async def _together(
        self, experiment: Mapping[str, Any], batch: Sequence[Action]
    ) -> list[Outcome]:
        limit = asyncio.Semaphore(MAX_PARALLEL)
        busy = False

        async def one(action: Action) -> Outcome:
            nonlocal busy
            async with limit:
                if busy:
                    return NotTried(action)
                outcome = await self._one(experiment, action)
                if isinstance(outcome, Throttled):
                    busy = True
                return outcome

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(action)) for action in batch]
        return [task.result() for task in tasks]

    async def _one(self, experiment: Mapping[str, Any], action: Action) -> Outcome:
        try:
            match action:
                case CreatePod():
                    return await self._create(action)
                case DeletePod():
                    await self._delete(action)
                case ReleasePod():
                    await self._release(action)
                case AddExperimentFinalizer() | RemoveExperimentFinalizer():
                    await self._finalizer(action)
                case EmitEvent():
                    self._recorder.emit(experiment, action.type, action.reason, action.message)
        except TooManyRequests as error:
            return Throttled(action, error.retry_after)
        except KubeError as error:
            return Failed(action, error)
        return Done(action)

    async def _create(self, action: CreatePod) -> Outcome:
        meta = action.body["metadata"]
        try:
            pod = await self._kube.create(PODS, meta["namespace"], action.body)
        except AlreadyExists:
            pod = await self._kube.get(PODS, meta["namespace"], meta["name"])
            if not _same_attempt(pod, action.body):
                return AlreadyForeign(action, pod)
            self._informer.observe(pod)
            return AlreadyOurs(action, pod)
        except Forbidden as error:
            if error.exceeded_quota:
                return QuotaExceeded(action, error.message)
            raise
        self._metrics.pods_created.inc()
        self._informer.observe(pod)
        return Created(action, pod)

    async def _delete(self, action: DeletePod) -> None:
        pod = await self._live(PODS, action.namespace, action.name, action.uid)
        if pod is not None and not pod["metadata"].get("deletionTimestamp"):
            await self._delete_pod(action.namespace, action.name, action.uid, action.grace_seconds)

    async def _release(self, action: ReleasePod) -> None:
        def free(pod: Mapping[str, Any]) -> patches.Patch | None:
            return patches.remove_finalizer(pod, POD_FINALIZER)

        pod = await self._patch(PODS, action.namespace, action.name, action.uid, free)
        if pod is None:
            return
        self._informer.observe(pod)
        if not action.keep and not pod["metadata"].get("deletionTimestamp"):
            await self._delete_pod(action.namespace, action.name, action.uid, None)

    async def _finalizer(self, action: AddExperimentFinalizer | RemoveExperimentFinalizer) -> None:
        def add(obj: Mapping[str, Any]) -> patches.Patch | None:
            return patches.add_finalizer(obj, EXPERIMENT_FINALIZER)

        def remove(obj: Mapping[str, Any]) -> patches.Patch | None:
            return patches.remove_finalizer(obj, EXPERIMENT_FINALIZER, same_version=True)

        make = add if isinstance(action, AddExperimentFinalizer) else remove
        await self._patch(EXPERIMENTS, action.namespace, action.name, action.uid, make)

    async def _patch(
        self, kind: Resource, namespace: str, name: str, uid: str, make: MakePatch
    ) -> Object | None:
        """The object after the patch, or as it is if none is needed; None if it is gone."""
        for last_try in (False, True):
            live = await self._live(kind, namespace, name, uid)
            if live is None or (patch := make(live)) is None:
                return live
            try:
                return await self._kube.json_patch(kind, namespace, name, patch)
            except NotFound:
                return None
            except Invalid:  # a test failed: it was changed after we had read it
                if last_try:
                    raise
        raise AssertionError("unreachable")

    async def _live(self, kind: Resource, namespace: str, name: str, uid: str) -> Object | None:
        """The object as it is now; None if it is gone, even if its name is in use again."""
        try:
            live = await self._kube.get(kind, namespace, name)
        except NotFound:
            return None
        return live if live["metadata"]["uid"] == uid else None

    async def _delete_pod(self, namespace: str, name: str, uid: str, grace: int | None) -> None:
        try:
            rest = await self._kube.delete(PODS, namespace, name, uid=uid, grace_seconds=grace)
        except NotFound:
            return
        self._metrics.pods_deleted.inc()
        if rest.get("kind") == "Pod":
            self._informer.observe(rest)


def _throttled(outcomes: Sequence[Outcome]) -> bool:
    return any(isinstance(outcome, Throttled) for outcome in outcomes)


def _any_open(outcomes: Sequence[Outcome]) -> bool:
    return any(isinstance(outcome, Throttled | Failed | NotTried) for outcome in outcomes)


def _same_attempt(pod: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Identity is labels, not the ownerReference: an orphaning delete strips that one."""
    found = pod["metadata"].get("labels") or {}
    labels = wanted["metadata"]["labels"]
    return all(found.get(name) == labels[name] for name in IDENTITY_LABELS)
