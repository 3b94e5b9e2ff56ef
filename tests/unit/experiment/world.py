"""One operator without its loops: the real parts over a small API server and a store in memory.

Nothing comes by itself: a test shows it what it shall know, and says when to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.model.cluster import ApiServer, Clocks
from tests.model.history import History
from tests.unit.lifecycle.builders import UID, raw_pod, spec
from tune_operator.api import constants
from tune_operator.experiment.gates import Gates
from tune_operator.experiment.look import Looker
from tune_operator.experiment.reports import Reports
from tune_operator.experiment.retention import Retention
from tune_operator.experiment.run import Key, Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Transient
from tune_operator.kube.events import EventRecorder
from tune_operator.kube.executor import Executor
from tune_operator.kube.informer import Informer
from tune_operator.kube.nodes import Nodes
from tune_operator.kube.resources import EXPERIMENTS, PODS
from tune_operator.kube.transport import Object, Request, Transport
from tune_operator.lifecycle import pod_view
from tune_operator.lifecycle.pod import Session
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.objects import Objects
from tune_operator.obs.metrics import Metrics
from tune_operator.reconciler import Reconciler
from tune_operator.reports.identity import PodIdentity
from tune_operator.runtime.workqueue import WorkQueue
from tune_operator.store.measured import MeasuredStore
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore

KEY: Key = ("team-a", "digits")
SESSION = Session("https://operator.tune-system.svc", "a certificate")
PLACE = (EXPERIMENTS.plural, *KEY)


class StillClock(Clocks):
    """Time that passes only when told to."""

    async def sleep(self, seconds: float) -> None:
        """No time passes."""
        await asyncio.sleep(0)


class NoHistory(History):
    """Promises are the model's business."""

    def status_written(self, known: Object, status: Mapping[str, Any]) -> None:
        """See History."""

    def pod_created(self, body: Object) -> None:
        """See History."""

    def touched(self, known: Object, how: str) -> None:
        """See History."""


class Line(Transport):
    """The connection to the API server; ``down``: nobody answers. ``sent`` are all requests."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.down = False
        self.sent: list[str] = []

    async def call(self, request: Request, seconds: float) -> Object:
        """See Transport.call."""
        self.sent.append(f"{request.verb} {request.target}")
        if self.down:
            raise Transient("nobody answers")
        return self.server.handle(request, "operator")


class LocalKube(Kube):
    """The real client; only what sends is another."""

    def __init__(self, line: Line, clock: StillClock) -> None:
        self._transport = line
        self._request_seconds = 10.0
        self._clock = clock


class Told(EventRecorder):
    """Keeps what it is told."""

    def __init__(self, kube: Kube) -> None:
        super().__init__(kube)
        self.reasons: list[str] = []

    def emit(self, involved: Mapping[str, Any], type: str, reason: str, message: str) -> None:  # noqa: A002
        """See EventRecorder.emit."""
        self.reasons.append(reason)


class Borrowed(MeasuredStore):
    """The world's store for one who closes what he was given."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store, lambda *_: None)

    async def close(self) -> None:
        """It stays open."""


class World:
    """An experiment, accepted; ``changes`` replace fields of its specification."""

    def __init__(self, store: ObjectStore | None = None, **changes: Any) -> None:
        self.clock = StillClock()
        self.server = ApiServer(NoHistory(), self.clock)
        self.line = Line(self.server)
        self.kube = LocalKube(self.line, self.clock)
        self.store: ObjectStore = store or MemoryStore()
        self.queue: WorkQueue[Key] = WorkQueue(self.clock)
        self.objects = Objects(self.queue.add)
        self.pods: Informer[PodView] = Informer(
            self.kube,
            PODS,
            (),
            constants.LABEL_EXPERIMENT_UID,
            pod_view.project,
            lambda _: None,
            clock=self.clock,
        )
        self.nodes = Nodes(self.kube, lambda _: None, clock=self.clock)
        self.metrics = Metrics()
        self.told = Told(self.kube)
        writer = StatusWriter(self.kube, self.clock, self.metrics, self.objects)
        self.looker = Looker(self.kube, self.pods, self.nodes, self.clock.now())
        self.gates = Gates(self.kube, SESSION, "cluster", lambda *_: None, writer)
        self.runs: dict[str, Run] = {}
        self.retention = Retention(
            self.runs, self._own_store, self.queue.add, self.clock, self.metrics
        )
        self.reconciler = Reconciler(
            kube=self.kube,
            looker=self.looker,
            gates=self.gates,
            writer=writer,
            executor=Executor(self.kube, self.pods, self.told, self.metrics),
            session=SESSION,
            queue=self.queue,
            clock=self.clock,
            metrics=self.metrics,
            objects=self.objects,
            seen={},
            runs=self.runs,
            retention=self.retention,
        )
        self.reports = Reports(
            self.kube, self.pods, self.reconciler.runs, self.queue.add, self.clock, self.metrics
        )
        given = {"numSamples": 1, "maxConcurrentTrials": 1, **changes}
        self.spec = spec(**given).model_dump(by_alias=True, exclude_none=True, mode="json")
        self.server.make(
            EXPERIMENTS,
            {
                "metadata": {
                    "namespace": KEY[0],
                    "name": KEY[1],
                    "uid": UID,
                    "generation": 1,
                    "finalizers": [constants.EXPERIMENT_FINALIZER],
                },
                "spec": self.spec,
            },
        )

    async def _own_store(self, run: Run) -> ObjectStore:
        return Borrowed(self.store)

    @property
    def run(self) -> Run:
        """What the operator remembers of it."""
        return self.reconciler.runs[UID]

    @property
    def status(self) -> Mapping[str, Any]:
        """What it shows."""
        status: Mapping[str, Any] = self.server.objects[PLACE].get("status") or {}
        return status

    async def look(self, times: int = 1) -> None:
        """Look at the experiment as it is now."""
        for _ in range(times):
            self.objects.observe("MODIFIED", self.server.objects[PLACE])
            known = self.reconciler.runs.get(UID)
            if known is None:
                known = self.reconciler.runs[UID] = Run(KEY, UID, self.objects[KEY])
                self.reconciler.seen.setdefault(KEY, set()).add(UID)
            if known.store is None:
                known.store = Borrowed(self.store)
            await self.reconciler.reconcile(KEY)

    def see(self) -> None:
        """The view of the Pods is as new as can be."""
        for pod in self.server.of(PODS):
            self.pods.observe(pod)

    async def start(self) -> PodIdentity:
        """The first trial's Pod runs and is bound. Returns who it is."""
        await self.look(3)
        place = next(place for place in self.server.objects if place[0] == PODS.plural)
        running = raw_pod({"running": {"startedAt": "2026-03-01T12:00:00Z"}})

        def run(pod: Object) -> None:
            pod["spec"]["nodeName"] = "node-1"
            pod["status"] = running["status"]

        pod = self.server.change(place, run)
        self.see()
        await self.look()
        return PodIdentity(KEY[0], pod["metadata"]["name"], pod["metadata"]["uid"])
