"""One operator process: the real parts as `app.py` wires them, over a model cluster and store.

Nothing in here decides. What comes from outside (answers, watch events, time) comes when the test
says so, and so do crashes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from tests.model.cluster import ApiServer, Bucket, Clocks
from tests.model.eventloop import StepLoop
from tests.model.history import EXPERIMENT, NAMESPACE, Broken, hold
from tests.model.wire import Call, ModelTransport, Wire, WireStore
from tune_operator.api.constants import LABEL_EXPERIMENT_UID
from tune_operator.experiment import collector, gates
from tune_operator.experiment.gates import Gates
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.look import Looker
from tune_operator.experiment.reports import Reports
from tune_operator.experiment.retention import Retention
from tune_operator.experiment.run import Key, Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import KubeError
from tune_operator.kube.events import EventRecorder
from tune_operator.kube.executor import Executor
from tune_operator.kube.informer import Informer
from tune_operator.kube.nodes import Nodes
from tune_operator.kube.resources import EXPERIMENTS, PODS
from tune_operator.lifecycle import pod_view
from tune_operator.lifecycle.pod import Session
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.objects import Objects
from tune_operator.obs.metrics import Metrics
from tune_operator.reconciler import Reconciler
from tune_operator.reports.sink import SinkRefusal
from tune_operator.runtime.workqueue import WorkQueue
from tune_operator.worker import work

KEY: Key = (NAMESPACE, EXPERIMENT)
SESSION = Session("https://operator.tune-system.svc", "a certificate")
METRICS = Metrics()
GRACE_SECONDS = 20.0
"""From a manifest to its data: as good as an hour where restoring takes no time."""

ENDLESS = 2000
"""Calls without a pause after which somebody is going round in circles."""


class ProcessClock:
    """Implements `runtime.clock.Clock`: the cluster's clocks, and the loop's for sleeping.

    ``ahead`` is how much later it is here than at the API server and the kubelets.
    """

    def __init__(self, clocks: Clocks, ahead: timedelta) -> None:
        self._clocks = clocks
        self.ahead = ahead

    def now(self) -> datetime:
        """The wall clock."""
        return self._clocks.now() + self.ahead

    def jumps(self, by: timedelta) -> None:
        """Somebody sets it."""
        self.ahead += by
        self._clocks.ahead = max(self._clocks.ahead, self.ahead)

    def monotonic(self) -> float:
        """The monotonic clock."""
        return self._clocks.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Until the test has let so much time pass."""
        await asyncio.sleep(max(0.0, seconds))


class ModelKube(Kube):
    """The real client; only what sends is another."""

    def __init__(self, transport: ModelTransport, clock: ProcessClock, store: WireStore) -> None:
        self._transport = transport
        self._request_seconds = 10.0
        self._watch_seconds = 30.0
        self._clock = clock
        self.store = store


class SilentRecorder(EventRecorder):
    """Events are told to nobody."""

    def emit(self, involved: Mapping[str, Any], type: str, reason: str, message: str) -> None:  # noqa: A002
        """See EventRecorder.emit."""


class ModelRetention(Retention):
    """The real one, which logs its defects and goes on; ``defect`` is the last."""

    defect: Exception | None = None

    async def _collect(self, run: Run) -> str:
        try:
            return await super()._collect(run)
        except Exception as error:
            self.defect = error
            raise


@contextmanager
def wired() -> Generator[None, None, None]:
    """While this holds, stores are opened over the wire and nonces are counted, not drawn.

    Whatever the journal acknowledges is told to the history.
    """
    nonces = itertools.count(1)

    async def connect(kube: ModelKube, *_: object) -> WireStore:
        return kube.store

    class Secrets:
        @staticmethod
        def token_hex(size: int) -> str:
            return f"{next(nonces):0{2 * size}x}"

    async def flush(self: Journal, store: WireStore) -> None:
        await write(self, store)
        store.bucket.history.acknowledged(self.claim.segment(self._seq))

    write = Journal.flush
    with (
        patch.object(gates, "connect", connect),
        patch.object(gates, "secrets", Secrets),
        patch.object(Journal, "flush", flush),
        patch.object(collector, "GRACE_SECONDS", GRACE_SECONDS),
    ):
        yield


class Process:
    """One life of a process. ``defect`` is what no code of ours should ever raise.

    ``unheard`` is when a trainer was last turned away because nobody could say who it was.
    ``collects``: it deletes what nobody needs any more.
    """

    defect: BaseException | None = None

    def __init__(
        self,
        name: str,
        server: ApiServer,
        bucket: Bucket,
        ahead: timedelta = timedelta(),
        *,
        collects: bool = False,
    ) -> None:
        self._collects = collects
        self.clock = clock = ProcessClock(server.clocks, ahead)
        self.name = name
        self.unheard: datetime | None = None
        self.loop = StepLoop(clock.monotonic)
        self.wire = Wire(self.loop)
        store = WireStore(self.wire, bucket, name)
        self.kube = kube = ModelKube(ModelTransport(self.wire, server, name), clock, store)
        self.queue: WorkQueue[Key] = WorkQueue(clock)
        self.objects = Objects(self.queue.add)
        self.seen: dict[Key, set[str]] = {}
        self.pods: Informer[PodView] = Informer(
            kube, PODS, (), LABEL_EXPERIMENT_UID, pod_view.project, self._changed, clock=clock
        )
        self.nodes = Nodes(kube, lambda _: self.queue.add(KEY), clock=clock)
        writer = StatusWriter(kube, clock, METRICS, self.objects)
        runs: dict[str, Run] = {}

        async def connect(_: Run) -> WireStore:
            return store

        self.retention = ModelRetention(runs, connect, self.queue.add, clock, METRICS)
        self.reconciler = Reconciler(
            kube=kube,
            looker=Looker(kube, self.pods, self.nodes, clock.now(), lambda: self.unheard),
            gates=Gates(kube, SESSION, "cluster-1", METRICS.store_operation, writer),
            writer=writer,
            executor=Executor(kube, self.pods, SilentRecorder(kube), METRICS),
            session=SESSION,
            queue=self.queue,
            clock=clock,
            metrics=METRICS,
            objects=self.objects,
            seen=self.seen,
            runs=runs,
            retention=self.retention,
        )
        self.reports = Reports(
            kube, self.pods, self.reconciler.runs, self.queue.add, clock, METRICS
        )
        self._answers: list[Callable[[], None]] = []
        self._main = self.loop.create_task(self._serve())
        self.loop.turn()

    async def _serve(self) -> None:
        """Pods first, so that no decision is made on half a view; then experiments and work."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pods.run())
            await self.pods.synced.wait()
            group.create_task(self.nodes.run())
            group.create_task(self._follow())
            if self._collects:
                group.create_task(self.retention.work())
            await work(self.queue, self._reconcile, METRICS)

    async def _reconcile(self, key: Key) -> None:
        try:
            await self.reconciler.reconcile(key)
        except (KubeError, asyncio.CancelledError):  # what the worker retries
            raise
        except BaseException as error:
            self.defect = error
            raise

    async def _follow(self) -> None:
        """What Kopf does: list, watch, list again. It tells of no deletion that it has missed."""
        while True:
            try:
                found, version = await self.kube.list(EXPERIMENTS, None)
                for obj in found:
                    self.objects.observe(None, obj)
                async for kind, obj in self.kube.watch(EXPERIMENTS, None, version):
                    self.objects.observe(kind, obj)
            except KubeError:
                await asyncio.sleep(1.0)

    def _changed(self, pod: PodView) -> None:
        key = (pod.namespace, pod.experiment)
        self.seen.setdefault(key, set()).add(pod.experiment_uid)
        self.queue.add(key)

    # --- what the test does with it -------------------------------------------------------------

    def turn(self) -> None:
        """Run until it waits for the test, and hand out what it answered."""
        self.loop.turn()
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()
        if isinstance(self.defect, Broken):
            raise self.defect
        defect = self.defect or self.retention.defect
        hold("no defect", defect is None, f"{defect!r}")

    def ask(
        self,
        report: Callable[[Reports], Awaitable[Any]],
        answered: Callable[[Any], None],
    ) -> None:
        """A trainer's request; ``answered`` gets the answer, the refusal, or None: nobody spoke."""

        async def served() -> Any:
            try:
                return await report(self.reports)
            except SinkRefusal as refusal:
                return refusal

        def hand_out(task: asyncio.Task[Any]) -> None:
            answer = None if task.cancelled() else task.result()
            self._answers.append(lambda: answered(answer))

        self.loop.create_task(served()).add_done_callback(hand_out)
        self.turn()

    def passes(self, call: Call) -> None:
        """This call is done and answered."""
        self.wire.passes(call)
        self.turn()

    def hear_all(self) -> None:
        """Every event that its watches have for it."""
        while any(watch.tell() for watch in list(self.wire.watches)):
            pass
        self.turn()

    def finish(self) -> None:
        """It hears all there is to hear, and whatever it asks is done, until it asks no more."""
        self.hear_all()
        for _ in range(ENDLESS):
            if not self.wire.calls:
                return
            self.passes(self.wire.calls[0])
            self.hear_all()
        hold("P13", not self.wire.calls, f"{self.name} asks for ever: {self.wire.calls[-1:]}")

    def poke(self) -> None:
        """Something says that it is time to look."""
        self.queue.add(KEY)
        self.turn()

    def die(self) -> None:
        """Killed, wherever it is; whoever waits for an answer gets none."""
        self.end()
        self.turn()

    def end(self) -> None:
        """Nothing of it goes on."""
        self.wire.cut()
        self.loop.kill()
