"""Composition root: build the parts, start them in order, stop them in reverse.

The Lease comes first, so that a standby costs nothing; then the Pod cache, so that no decision is
made on half a view; then experiments and workers, and last the door for trainers.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import uuid
from collections.abc import Collection, Coroutine
from typing import Any
from urllib.parse import urlsplit

from tune_operator import handlers
from tune_operator.api.constants import LABEL_EXPERIMENT_UID, TOKEN_AUDIENCE
from tune_operator.ca import serving_ca
from tune_operator.config import Settings
from tune_operator.experiment.accepted import storage_of
from tune_operator.experiment.gates import Gates
from tune_operator.experiment.look import Looker
from tune_operator.experiment.reports import Reports
from tune_operator.experiment.retention import WORKERS, Retention
from tune_operator.experiment.run import Key, Run
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.experiment.storage import connect
from tune_operator.kube.client import Kube
from tune_operator.kube.events import EventRecorder
from tune_operator.kube.executor import Executor
from tune_operator.kube.informer import Informer
from tune_operator.kube.leader import LeaderElection, mark_leader_pod
from tune_operator.kube.nodes import Nodes
from tune_operator.kube.patience import patiently
from tune_operator.kube.resources import EXPERIMENTS, NAMESPACES, PODS
from tune_operator.kube.served import served
from tune_operator.kube.tokens import TokenAuthenticator
from tune_operator.lifecycle import pod_view
from tune_operator.lifecycle.pod import Session
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.objects import Objects
from tune_operator.obs.health import Health
from tune_operator.obs.metrics import Metrics
from tune_operator.obs.server import ObservabilityServer
from tune_operator.reconciler import Reconciler
from tune_operator.reports.server import ReportServer
from tune_operator.reports.serving import ServingCertificate
from tune_operator.runtime.clock import SystemClock
from tune_operator.runtime.heartbeat import Heartbeat
from tune_operator.runtime.periodic import periodically
from tune_operator.runtime.supervisor import Supervisor, TaskEnded
from tune_operator.runtime.workqueue import WorkQueue
from tune_operator.store.object_store import ObjectStore
from tune_operator.worker import work

logger = logging.getLogger(__name__)

STALE_SECONDS = 900.0
"""A view of the Pods, or a key in the queue, older than this is a sick process.

An outage of the API server of ten minutes must not restart anything (P15).
"""

BEAT_SECONDS = 10.0
"""An event loop that has not turned for this long is blocked."""

DRAIN_SECONDS = 10.0
"""What the workers get to finish what is due when the process stops."""

SWEEP_SECONDS = 180.0
"""Between two looks at everything, whether or not an event came (DESIGN 5.2, step 7)."""

SERVICE_SECONDS = 20.0
"""What all that serves experiments gets to stop in order; less than the Pod's grace period."""


async def run(settings: Settings) -> int:
    """Run until a signal or until a part fails. Returns the exit code."""
    logger.info("settings: %s", " ".join(settings.lines()))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        loop.add_signal_handler(number, stopping.set)
    kube = await Kube.connect()
    try:
        await Operator(settings, kube).run(stopping)
    except TaskEnded as ended:
        logger.error("stopping: %s: %s", ended, ended.__cause__)  # noqa: TRY400
        return 1
    finally:
        await kube.close()
    return 0


class Operator:
    """The whole process over one connection to the API server."""

    def __init__(self, settings: Settings, kube: Kube) -> None:
        self.settings = settings
        self.kube = kube
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.heartbeat = Heartbeat(self.clock)
        self.queue: WorkQueue[Key] = WorkQueue(self.clock)
        self.objects = Objects(self.queue.add)
        self.seen: dict[Key, set[str]] = {}
        self.runs: dict[str, Run] = {}
        self.pods: Informer[PodView] = Informer(
            kube,
            PODS,
            settings.watch_namespaces,
            LABEL_EXPERIMENT_UID,
            pod_view.project,
            self._pod_changed,
        )
        self.nodes = Nodes(kube, self._nodes_changed)
        self.tokens = TokenAuthenticator(kube, TOKEN_AUDIENCE, self.clock)
        self.recorder = EventRecorder(kube)
        self.leading = False
        identity = f"{settings.pod_name or 'tune-operator'}-{uuid.uuid4()}"
        seconds = settings.lease_seconds
        self.leader = LeaderElection(
            kube,
            settings.namespace,
            settings.lease_name,
            identity,
            self.clock,
            lease_seconds=seconds,
            renew_seconds=seconds * 2 / 3,
            retry_seconds=seconds * 2 / 15,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping``. Raises TaskEnded when a part failed."""
        observability = ObservabilityServer(self._health(), self.metrics, self.settings.obs_port)
        supervisor = Supervisor()
        await observability.start()
        try:
            supervisor.start("heartbeat", self.heartbeat.run())
            supervisor.start("events", self.recorder.run(), stop=self.recorder.close)
            if await _done_before(stopping, self.leader.acquire()):
                self.leading = True
                self.metrics.leader.set(1)
                supervisor.start("leader", self.leader.hold())
                closing = asyncio.Event()
                serving = self._serve(closing)
                supervisor.start("service", serving, stop=closing.set, bound=SERVICE_SECONDS)
                await supervisor.run(stopping)
        finally:
            await supervisor.stop()
            await self.leader.release()
            await observability.stop()

    async def _serve(self, closing: asyncio.Event) -> None:
        """What only the leader does, until ``closing``.

        Losing the Lease ends the process: by then somebody else has taken over.
        """
        settings = self.settings
        supervisor = Supervisor()
        try:
            ca = await patiently(
                lambda: serving_ca(self.kube, settings.namespace, settings.ca_secret), self.clock
            )
            certificate = ServingCertificate(ca, [urlsplit(settings.service_url).hostname or ""])
            supervisor.start("certificate", certificate.run())
            supervisor.start("pods", self.pods.run())
            if not await _done_before(closing, self.pods.synced.wait()):
                return
            if not await _done_before(closing, served(self.kube, EXPERIMENTS, self.clock)):
                return
            session = Session(settings.service_url, ca.certificate.decode())
            await self._work(supervisor, closing, session, certificate)
        finally:
            await supervisor.stop()

    async def _work(
        self,
        supervisor: Supervisor,
        closing: asyncio.Event,
        session: Session,
        certificate: ServingCertificate,
    ) -> None:
        settings = self.settings
        retention = self._retention()
        reconciler = await self._reconciler(session, retention)
        if settings.node_watch:
            supervisor.start("nodes", self.nodes.run())
        server = ReportServer(
            Reports(
                self.kube, self.pods, reconciler.runs, self.queue.add, self.clock, self.metrics
            ),
            self.tokens,
            certificate.context,
            settings.listen_host,
            settings.listen_port,
            self.metrics,
        )
        for number in range(WORKERS):
            supervisor.start(f"retention {number}", retention.work(), stop=retention.close)
        self._start_workers(supervisor, reconciler)

        async def sweep_all() -> None:
            await self._sweep()
            retention.sweep()

        sweep = periodically("sweep", sweep_all, SWEEP_SECONDS, self.clock)
        supervisor.start("sweep", sweep)
        await server.start()
        try:
            if name := settings.pod_name:
                await patiently(
                    lambda: mark_leader_pod(self.kube, settings.namespace, name), self.clock
                )
            await supervisor.run(closing)
        finally:
            await server.stop()
            await reconciler.close()
            await retention.stop()

    def _start_workers(self, supervisor: Supervisor, reconciler: Reconciler) -> None:
        for number in range(self.settings.workers):
            supervisor.start(
                f"worker {number}",
                work(self.queue, reconciler.reconcile, self.metrics),
                stop=self.queue.close,
                bound=DRAIN_SECONDS,
            )
        stop = threading.Event()
        supervisor.start(
            "experiments",
            handlers.follow(self.objects.observe, self.settings.watch_namespaces, stop),
            stop=stop.set,
        )

    def _health(self) -> Health:
        health = Health()
        health.live("event loop", lambda: _older(self.heartbeat.age_seconds(), BEAT_SECONDS))
        health.live("oldest key", lambda: _older(self.queue.oldest_age(), STALE_SECONDS))
        health.live("pods", lambda: _older(self._view_age(), STALE_SECONDS))
        health.ready("pods", self._filled)
        self.metrics.watch_workqueue(lambda: len(self.queue))
        self.metrics.watch_informer(self._view_age)
        return health

    def _view_age(self) -> float:
        """A standby has no view that could be old."""
        return self.pods.age_seconds() if self.pods.synced.is_set() else 0.0

    def _filled(self) -> str | None:
        """A standby is ready to take over; a leader only when it can decide."""
        leading = self.leading and not self.pods.synced.is_set()
        return "the view of the Pods is not complete yet" if leading else None

    def _retention(self) -> Retention:
        async def own_store(run: Run) -> ObjectStore:
            storage = storage_of(run.obj)
            return await connect(self.kube, run.key[0], storage, self.metrics.store_operation)

        return Retention(self.runs, own_store, self.queue.add, self.clock, self.metrics)

    async def _reconciler(self, session: Session, retention: Retention) -> Reconciler:
        system = await patiently(lambda: self.kube.get(NAMESPACES, None, "kube-system"), self.clock)
        cluster = system["metadata"]["uid"]
        writer = StatusWriter(self.kube, self.clock, self.metrics, self.objects)
        return Reconciler(
            kube=self.kube,
            looker=Looker(
                self.kube, self.pods, self.nodes, self.clock.now(), lambda: self.tokens.failed_at
            ),
            gates=Gates(self.kube, session, cluster, self.metrics.store_operation, writer),
            writer=writer,
            executor=Executor(self.kube, self.pods, self.recorder, self.metrics),
            session=session,
            queue=self.queue,
            clock=self.clock,
            metrics=self.metrics,
            objects=self.objects,
            seen=self.seen,
            runs=self.runs,
            retention=retention,
        )

    def _nodes_changed(self, names: Collection[str]) -> None:
        """Look again at every experiment that has a Pod on one of these nodes."""
        for key in self.seen:
            if any(
                pod.node in names for uid in self.seen[key] for pod in self.pods.of(key[0], uid)
            ):
                self.queue.add(key)

    async def _sweep(self) -> None:
        """Look at everything again, for whatever no event told of (DESIGN 5.2)."""
        for key in {*self.objects, *self.seen}:
            self.queue.add(key)

    def _pod_changed(self, pod: PodView) -> None:
        key = (pod.namespace, pod.experiment)
        self.seen.setdefault(key, set()).add(pod.experiment_uid)
        self.queue.add(key)


def _older(age: float, limit: float) -> str | None:
    return f"{age:.0f} s old" if age > limit else None


async def _done_before(event: asyncio.Event, work: Coroutine[Any, Any, Any]) -> bool:
    """Whether ``work`` ended before ``event`` was set, else it is cancelled. Raises as it does."""
    task, waiter = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return False
    task.result()
    return True
