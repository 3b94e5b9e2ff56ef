"""Plays one trainer: real token, real HTTPS, real manifests and exit records, no training.

It keeps to the rules of the SDK: results wait in a spool until they are durable and ride in
manifests and in the exit record; nobody waits for an operator that is away. How its process ends
is told to the node by annotations.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from tests.chaos.door import Door, NotNow, Refused
from tests.chaos.faults import HOPELESS, TrialFault
from tests.chaos.ledger import Attempt, Ledger
from tests.integration.player import NOW, annotate, pod_token
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, KubeError, NotFound
from tune_operator.store.errors import StoreError
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.environment import EXIT_UNUSABLE
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, TrialKeys
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.messages import (
    COMPLETE_PATH,
    RESULTS_PATH,
    SESSION_PATH,
    CompleteRequest,
    ResultsRequest,
    ResultsResponse,
    SessionRequest,
    SessionResponse,
)
from tune_trainer.spool import Spool

T = TypeVar("T")
METRIC = "mean_accuracy"
ITERATION_SECONDS = 2.0
REQUEST_BYTES = 1 << 16
COMPLETE_TRIES = 8
HOPELESS_STEPS = 2
"""Iterations of an attempt that is to fail: less than a checkpoint takes."""

FORGED_STEP = 1000
"""What a zombie commits is this much ahead, so that whoever resumes from it is found out."""


class Phase(Enum):
    """How far the attempt is; faults are aimed at those that train."""

    STARTING = auto()
    TRAINING = auto()
    DOOMED = auto()
    COMPLETING = auto()
    ENDED = auto()


@dataclass(frozen=True)
class Ending:
    """How the process ends. ``code`` None: without a word, as if its node had no power."""

    code: int | None = 137
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def saves(self) -> bool:
        """Whether there was time for a checkpoint."""
        return self.outcome in (Outcome.INTERRUPTED, Outcome.STOPPED)


GRACEFUL = Ending(0, Outcome.INTERRUPTED)
CRASH = Ending(1)
KILLED = Ending(137)
SILENT = Ending(None)


@dataclass(frozen=True)
class World:
    """What all trainers share. ``hopeless``: trials whose trainers fail until they may no more."""

    kube: Kube
    store: ObjectStore
    door: Door
    ledger: Ledger
    hopeless: Collection[str] = ()


class Trainer:
    """One attempt's trainer."""

    def __init__(self, world: World, pod: Mapping[str, Any], entry: Attempt, seed: int) -> None:
        self._world = world
        self.pod = pod
        self.entry = entry
        self._chance = random.Random(seed)
        self.phase = Phase.STARTING
        self._wake = asyncio.Event()
        self._ending: Ending | None = None
        self._when_deleted = GRACEFUL
        self._before_exit: Callable[[], Awaitable[None]] | None = None
        self._zombie = False
        self._spool = Spool(METRIC, "max", max_results=10_000, max_bytes=1 << 24)
        self._refs: list[CheckpointRef] = []
        self._session: SessionResponse | None = None
        self._token = ""
        self.iteration = 0

    def doom(self, fault: TrialFault, when_deleted: Ending = KILLED) -> None:
        """From here on the attempt ends by this fault: it does not complete any more."""
        if self.phase is not Phase.TRAINING:
            raise RuntimeError(f"{self.entry} is {self.phase.name}")
        self.phase = Phase.DOOMED
        self.entry.fault = fault
        self._before_exit = None
        self._when_deleted = when_deleted

    @property
    def exposed(self) -> bool:
        """Whether a fault may be aimed at it."""
        return self.phase is Phase.TRAINING and self.entry.fault is None

    def on_complete(self, fault: TrialFault, strike: Callable[[], Awaitable[None]]) -> None:
        """Let the fault strike when the completion is stored and the process still runs."""
        self.entry.fault = fault
        self._before_exit = strike

    def outlive(self) -> None:
        """Its node is out of reach: it trains on, and nobody hears when it is deleted."""
        self._zombie = True

    def end(self, ending: Ending) -> None:
        """End as soon as the current iteration is complete."""
        if self._ending is None:
            self._ending = ending
            self._wake.set()

    def deleted(self) -> None:
        """Its Pod has a deletionTimestamp: SIGTERM."""
        if self._zombie or self.phase in (Phase.COMPLETING, Phase.ENDED):
            return
        if self.phase is Phase.TRAINING:
            self._world.ledger.note(f"{self.entry} was deleted, and by no fault")
        self.end(self._when_deleted)

    async def play(self) -> None:
        """From the session to the end of the process."""
        try:
            await self._live()
        except NotFound:
            self.phase = Phase.ENDED  # the Pod is gone, and its token with it
        finally:
            self.phase = Phase.ENDED
            self.entry.ended = self.entry.ended or time.monotonic()

    async def _live(self) -> None:
        try:
            await self._open()
        except Refused:
            await self._exit(EXIT_UNUSABLE)
            return
        if not self._over():
            await self._train()
        if (ending := self._ending) is not None:
            await self._die(ending)

    async def _open(self) -> None:
        self._token = await persist(lambda: pod_token(self._world.kube, self.pod))
        request = SessionRequest(self.entry.trial, self.entry.number).to_json()
        while self._ending is None:
            try:
                reply = await self._world.door.post(SESSION_PATH, request, self._token)
            except NotNow:
                await self._pause(0.5)
                continue
            session = SessionResponse.from_bytes(reply.body)
            self._session = session
            self.iteration = session.plan[0].iteration if session.plan else 0
            self.entry.plan = session.plan
            self.entry.opened = time.monotonic()
            self.phase = Phase.TRAINING
            return

    async def _train(self) -> None:
        goal = self._opened.criteria["training_iteration"]
        fails = min(self.iteration + HOPELESS_STEPS, goal - 1)
        while not self._over():
            await self._pause(ITERATION_SECONDS * self._chance.uniform(0.7, 1.3))
            if self._over():
                return
            if self._hopeless and self.iteration >= fails:
                self.doom(HOPELESS)
                self.end(CRASH)
                return
            last = self.iteration + 1 >= goal
            if not (last and self.phase is Phase.DOOMED):
                self._step()
            if self.iteration % self._opened.frequency == 0:
                await self._save(self.iteration)
            if last and self.phase is Phase.TRAINING:
                await self._complete()
                return
            try:
                await self._report()
            except NotNow:
                continue
            except Refused as refused:
                await self._fenced(refused)
                return

    def _step(self) -> None:
        self.iteration += 1
        score = (self.iteration * 7919 + int(self.entry.trial)) % 1000 / 1000
        stamp = f"{self.entry.trial}/{self.entry.number}/{self._spool.seq + 1}"
        metrics = {"training_iteration": self.iteration, METRIC: score, "stamp": stamp}
        self.entry.sent = self._spool.add(metrics).seq

    async def _report(self) -> int:
        """Returns the port of the operator that took it, 0 when there was nothing to say."""
        results = self._spool.unsent(REQUEST_BYTES)
        refs = tuple(self._refs)
        if not results and not refs and not self._zombie:
            return 0
        request = ResultsRequest(self.entry.number, results, refs, self._spool.received)
        reply = await self._world.door.post(RESULTS_PATH, request.to_json(), self._token)
        answer = ResultsResponse.from_bytes(reply.body)
        self._spool.answered(answer.received, answer.durable)
        self.entry.durable = self._spool.durable
        self._refs = [ref for ref in self._refs if ref not in refs]
        # What a frozen leader says when it wakes to one that was replaced meanwhile is no promise.
        if refs and not self._zombie and not self.entry.refused:
            newest = max(ref.iteration for ref in refs)
            self.entry.acknowledged = max(self.entry.acknowledged, newest)
        return reply.port

    async def _save(self, iteration: int) -> CheckpointRef:
        ref = CheckpointRef(self.entry.number, iteration)
        manifest = Manifest(
            experiment=self._opened.experiment_uid,
            trial=self.entry.trial,
            ref=ref,
            nonce="chaos",
            time=NOW,
            kind="json",
            relative="",
            metrics={"training_iteration": iteration},
            progress={},
            files=(),
            results=self._spool.undurable(),
        )
        await self._put(self._keys.manifest(ref), manifest.to_bytes())
        self._refs.append(ref)
        return ref

    async def _complete(self) -> None:
        self.phase = Phase.COMPLETING
        record = await self._record(Outcome.COMPLETED, "StoppedByCriteria")
        self.entry.completed = True
        self.entry.recorded = self._spool.seq
        request = CompleteRequest(self.entry.number, record, tuple(self._refs)).to_json()
        for _ in range(COMPLETE_TRIES):
            try:
                await self._world.door.post(COMPLETE_PATH, request, self._token)
            except NotNow:
                await asyncio.sleep(1)
            except Refused:
                break  # an answer got lost: it is settled, and this attempt closed
            else:
                break
        if self._before_exit is not None:
            await self._before_exit()
        await self._exit(0)

    async def _fenced(self, refused: Refused) -> None:
        """401: it was replaced, or will be. A zombie shows what harm it would like to do, and goes.

        Not before it was replaced: until then its completion would stand, as that of any attempt.
        """
        self.entry.refused += 1
        if self.phase is not Phase.DOOMED:
            self._world.ledger.note(
                f"{self.entry} was refused though no fault struck it: {refused}"
            )
        while not (refused.outdated or self._world.ledger.replaced(self.entry)):
            if self._over():
                await self._exit(EXIT_UNUSABLE)
                return
            await self._pause(0.5)
        forged = await self._save(self.iteration + FORGED_STEP)
        self.entry.forged.append(forged)
        await self._record(Outcome.COMPLETED, "Forged")
        for _ in range(3):
            with contextlib.suppress(NotNow, Refused):
                if await self._report() == refused.port:
                    self._world.ledger.note(f"{self.entry}: one refused a report and took the next")
            await asyncio.sleep(ITERATION_SECONDS)
        await self._exit(EXIT_UNUSABLE)

    async def _die(self, ending: Ending) -> None:
        if self._session is not None:
            if ending.saves and self.iteration:
                await self._save(self.iteration)
            if ending.outcome is not None:
                await self._record(ending.outcome, ending.reason or ending.outcome.value)
                self.entry.recorded = self._spool.seq
        if ending.code is not None:
            await self._exit(ending.code, ending.reason)

    async def _record(self, outcome: Outcome, reason: str) -> ExitRecord:
        record = ExitRecord(
            experiment=self._opened.experiment_uid,
            trial=self.entry.trial,
            attempt=self.entry.number,
            outcome=outcome,
            reason=reason,
            message="",
            iteration=self.iteration,
            time=NOW,
            signal="SIGTERM" if outcome is Outcome.INTERRUPTED else "",
            last_result=self._spool.last,
            results=self._spool.undurable(),
        )
        await self._put(self._keys.exit_record(self.entry.number), record.to_bytes())
        return record

    async def _put(self, key: str, data: bytes) -> None:
        """The first one stands, whoever wrote it."""
        await persist(lambda: self._world.store.put_if_absent(key, data))

    async def _exit(self, code: int, reason: str = "") -> None:
        """The container ends: the node reads it off the Pod."""
        self.phase = Phase.ENDED
        self.entry.ended = time.monotonic()
        notes = {"tune.dev/exit-code": str(code)}
        if reason == "OOMKilled":
            notes["tune.dev/exit-reason"] = reason
        with contextlib.suppress(NotFound):
            await persist(lambda: annotate(self._world.kube, self.pod, notes))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    @property
    def _hopeless(self) -> bool:
        """Whether it is to fail, unless it has another end coming."""
        return self.entry.trial in self._world.hopeless and self.phase is Phase.TRAINING

    def _over(self) -> bool:
        return self._ending is not None  # a method: it may become true during any await

    @property
    def _opened(self) -> SessionResponse:
        assert self._session is not None
        return self._session

    @property
    def _keys(self) -> TrialKeys:
        return RunKeys(self._opened.storage.root).trial(self.entry.trial)


async def persist(act: Callable[[], Awaitable[T]]) -> T:
    """Do it against a server that may be busy; what is there or gone already is the caller's."""
    for wait in (0.2, 0.5, 1.0, 2.0, 4.0):
        try:
            return await act()
        except (NotFound, Conflict):
            raise
        except (KubeError, StoreError):
            await asyncio.sleep(wait)
    return await act()
