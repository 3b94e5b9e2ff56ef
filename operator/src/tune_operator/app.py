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
from urllib.parse import urlsplit

from tune_operator import handlers
from tune_operator.api.constants import LABEL_EXPERIMENT_UID, TOKEN_AUDIENCE
from tune_operator.ca import serving_ca
from tune_operator.config import Settings
from tune_operator.experiment.gates import Gates
from tune_operator.experiment.look import Looker
from tune_operator.experiment.reports import Reports
from tune_operator.experiment.run import Key
from tune_operator.experiment.status_writer import StatusWriter
from tune_operator.kube.client import Kube
from tune_operator.kube.events import EventRecorder
from tune_operator.kube.executor import Executor
from tune_operator.kube.informer import Informer
from tune_operator.kube.leader import LeaderElection, mark_leader_pod
from tune_operator.kube.resources import NAMESPACES, PODS
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
from tune_operator.runtime.supervisor import Supervisor, TaskEnded
from tune_operator.runtime.workqueue import WorkQueue
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
        self.pods: Informer[PodView] = Informer(
            kube,
            PODS,
            settings.watch_namespaces,
            LABEL_EXPERIMENT_UID,
            pod_view.project,
            self._pod_changed,
        )
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
            supervisor.start("events", self.recorder.run())
            if await self._lead(stopping):
                await self._serve(supervisor, stopping)
        finally:
            await supervisor.stop()
            await self.leader.release()
            await observability.stop()

    async def _lead(self, stopping: asyncio.Event) -> bool:
        """Wait for the Lease; False when told to stop before it was ours."""
        acquire = asyncio.ensure_future(self.leader.acquire())
        stop = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({acquire, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not acquire.done():
            acquire.cancel()
            await asyncio.wait({acquire})
            return False
        acquire.result()
        self.leading = True
        self.metrics.leader.set(1)
        return True

    async def _serve(self, supervisor: Supervisor, stopping: asyncio.Event) -> None:
        """What only the leader does. Losing the Lease ends the process: somebody else took over."""
        settings = self.settings
        supervisor.start("leader", self.leader.hold())
        ca = await serving_ca(self.kube, settings.namespace, settings.ca_secret)
        certificate = ServingCertificate(ca, [urlsplit(settings.service_url).hostname or ""])
        supervisor.start("certificate", certificate.run())
        supervisor.start("pods", self.pods.run())
        await self.pods.synced.wait()
        reconciler = await self._reconciler(Session(settings.service_url, ca.certificate.decode()))
        server = ReportServer(
            Reports(self.kube, self.pods, reconciler.runs, self.queue.add, self.metrics),
            TokenAuthenticator(self.kube, TOKEN_AUDIENCE),
            certificate.context,
            settings.listen_host,
            settings.listen_port,
            self.metrics,
        )
        self._start_workers(supervisor, reconciler)
        await server.start()
        try:
            if settings.pod_name:
                await mark_leader_pod(self.kube, settings.namespace, settings.pod_name)
            await supervisor.run(stopping)
        finally:
            await server.stop()
            await reconciler.close()

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

    async def _reconciler(self, session: Session) -> Reconciler:
        cluster = (await self.kube.get(NAMESPACES, None, "kube-system"))["metadata"]["uid"]
        writer = StatusWriter(self.kube, self.clock, self.metrics, self.objects)
        return Reconciler(
            kube=self.kube,
            looker=Looker(self.kube, self.pods),
            gates=Gates(self.kube, session, cluster, self.metrics.store_operation, writer),
            writer=writer,
            executor=Executor(self.kube, self.pods, self.recorder),
            session=session,
            queue=self.queue,
            clock=self.clock,
            objects=self.objects,
            seen=self.seen,
        )

    def _pod_changed(self, pod: PodView) -> None:
        key = (pod.namespace, pod.experiment)
        self.seen.setdefault(key, set()).add(pod.experiment_uid)
        self.queue.add(key)


def _older(age: float, limit: float) -> str | None:
    return f"{age:.0f} s old" if age > limit else None
