"""What can happen: operators, nodes, trainers, users and faults, one small step at a time.

What can happen takes one number that picks among what is possible; what is not possible does
nothing. So any sequence of numbers is a history, for Hypothesis as for a seeded generator.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Self, TypeVar

from tests.model.cluster import ApiServer, Bucket, Clocks
from tests.model.history import (
    EXPERIMENT,
    KEYS,
    MAX_FAILURES,
    NAMESPACE,
    PLACE,
    UID,
    ZOMBIE,
    History,
)
from tests.model.nodes import NODE_NAMES, Nodes
from tests.model.peace import LATE
from tests.model.process import Process
from tests.model.retained import Retained
from tests.model.wire import Call
from tune_operator.api import constants
from tune_operator.kube.resources import EXPERIMENTS, PODS
from tune_operator.kube.transport import Object
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.pod_view import project
from tune_operator.reports.identity import PodIdentity
from tune_operator.reports.sink import Outdated
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef, parse_manifest_key
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.messages import (
    CompleteRequest,
    Directive,
    DirectiveKind,
    ResultsRequest,
    ResultsResponse,
    SessionRequest,
    SessionResponse,
)
from tune_trainer.protocol.result import Result

T = TypeVar("T")

TRIALS = 2
SPEC: Object = {
    "objective": {"metric": "score", "mode": "max"},
    "numSamples": TRIALS,
    "maxConcurrentTrials": 2,
    "search": {"seed": 1, "space": {"lr": {"uniform": {"lower": 0.0, "upper": 1.0}}}},
    "storage": {
        "uri": "s3://tune/team-a",
        "endpoint": "https://minio.storage.svc:9000",
        "credentials": {"mode": "Secret", "secretRef": {"name": "store"}},
    },
    "failure": {
        "maxFailures": MAX_FAILURES,
        "backoff": {"initialSeconds": 1, "maxSeconds": 4},
        "startTimeoutSeconds": 60,
        "nodeLost": {"timeoutSeconds": 20},
        "rules": [{"action": "FailTrial", "onExitCodes": {"operator": "In", "values": [42]}}],
    },
    "cleanup": {"keepErroredPods": 1},
    "stopGracePeriodSeconds": 30,
    "trainer": {"image": "example/train:1", "entrypoint": "digits:Digits"},
}
DIGEST = hashlib.sha256(UID.encode()).hexdigest()[:5]
LAST_ITERATION = 3
EXIT_CODES = (0, 0, 1, 42, 75, 137, 143)
NODE_REASONS = ("OutOfcpu", "Evicted", "NodeShutdown", "Terminated")


@dataclass(eq=False)
class Trainer:
    """A process. ``plan`` is None until a session was given; it may outlive its Pod.

    ``asking``: a request of its own is under way. ``uploaded`` is the last iteration
    of which it has stored the data, ``saved`` the last one it committed.
    """

    pod: PodIdentity
    trial: str
    attempt: int
    plan: tuple[CheckpointRef, ...] | None = None
    iteration: int = 0
    spool: tuple[Result, ...] = ()
    seq: int = 0
    asking: bool = False
    saved: int = 0
    uploaded: int = 0

    @property
    def uid(self) -> str:
        """Of its Pod."""
        return self.pod.uid


class Play:
    """One world and all that moves in it."""

    def __init__(self, operators: int = 2, *, collects: bool = False) -> None:
        """``collects``: operators delete checkpoints that nobody needs any more."""
        random.seed(1)  # what the operator draws, its pauses between retries, is the same each time
        self.clocks = Clocks()
        self.history = History()
        self.server = ApiServer(self.history, self.clocks)
        self.bucket = Bucket(self.history)
        self.history.server, self.history.bucket = self.server, self.bucket
        self.history.retention = Retained(self.history)
        self.trainers: dict[str, Trainer] = {}
        self.unheard: dict[str, int] = {}
        self.lives = 0
        self.last_iteration = LAST_ITERATION
        meta = {"name": EXPERIMENT, "namespace": NAMESPACE, "uid": UID, "generation": 1}
        self.server.make(EXPERIMENTS, {"metadata": meta, "spec": SPEC})
        self.nodes = Nodes(self.server, self.history)
        self.orphans: list[tuple[Process, Call]] = []
        self.collects = collects
        self.operators = [self._operator() for _ in range(operators)]

    def happens(self, name: str, pick: int) -> None:
        """One step of a history."""
        getattr(self, name)(pick)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what would otherwise be left unfinished."""
        for operator in self.operators:
            operator.end()

    # --- operators ----------------------------------------------------------------------------

    def look(self, pick: int) -> None:
        """An operator hears all there is, looks, and everything it asks is done at once."""
        operator = self._one_of_operators(pick)
        if not operator.loop.frozen:
            operator.poke()
            operator.finish()

    def poke(self, pick: int) -> None:
        """An operator looks at what it happens to know."""
        self._one_of_operators(pick).poke()

    def step(self, pick: int) -> None:
        """Something happens to one of the calls on their way, of the living and of the dead."""
        calls = [(operator, call) for operator in self.operators for call in operator.wire.calls]
        found = _one([*calls, *self.orphans], pick // 16)
        if found is None:
            return
        operator, call = found
        wire = operator.wire
        if operator.wire.dead:
            self.orphans.remove(found)
            if pick % 2:
                call.happen()
            return
        ways: list[Callable[[Call], None]] = [
            *[wire.passes] * 9,
            *[wire.happens] * 2,
            wire.fails,
            partial(wire.fails, throttled=True),
            wire.loses,
            wire.hangs,
            wire.drops,
        ]
        ways[pick % 16](call)
        operator.turn()

    def hear(self, pick: int) -> None:
        """One event of a watch arrives, sometimes twice."""
        operator = self._one_of_operators(pick)
        watch = _one(operator.wire.watches, pick // 2)
        if watch is not None:
            watch.tell(doubled=pick // 8 % 4 == 0)
            operator.turn()

    def cut_watch(self, pick: int) -> None:
        """A watch ends, or its events are gone: what happened meanwhile comes with a list."""
        operator = self._one_of_operators(pick)
        watch = _one(operator.wire.watches, pick // 2)
        if watch is not None:
            watch.end(gone=pick // 8 % 2 == 0)
            operator.turn()

    def crash(self, pick: int) -> None:
        """An operator is killed, wherever it is, and started again."""
        number = pick % len(self.operators)
        killed = self.operators[number]
        killed.die()
        self.orphans += [(killed, call) for call in killed.wire.calls if not call.happened]
        self.operators[number] = self._operator(killed.clock.ahead)

    def freeze(self, pick: int) -> None:
        """An operator stops running without knowing it, or goes on as if nothing had been."""
        operator = self._one_of_operators(pick)
        operator.loop.frozen = not operator.loop.frozen
        operator.turn()

    # --- nodes and whoever ends Pods ------------------------------------------------------------

    def kubelet(self, pick: int) -> None:
        """A Pod gets a node, or its trainer starts, or its deletion is confirmed."""
        pod = _one(self.pods(), pick)
        if pod is not None:
            self._advance(pod)

    def end(self, pick: int) -> None:
        """A trainer's process ends with some exit code and some record."""
        pod = _one(self._running(), pick)
        if pod is None:
            return
        code = EXIT_CODES[pick // 8 % len(EXIT_CODES)]
        outcome = [*Outcome, None][pick // 64 % 5]
        if outcome is not None and outcome is not Outcome.STOPPED:
            self._record(self.trainers[_uid(pod)], outcome)
        self._stop(pod, code)

    def node_fails(self, pick: int) -> None:
        """The kubelet gives a Pod up, before or after its trainer started."""
        pods = [pod for pod in self.pods() if self.nodes.reaches(pod)]
        pod = _one([pod for pod in pods if not project(pod).terminal], pick)
        if pod is not None:
            reason = NODE_REASONS[pick // 8 % len(NODE_REASONS)]
            ended = _terminated(137) if project(pod).trainer.started else None
            self.trainers.pop(_uid(pod), None)
            ran = ended is not None
            code = 137 if ran else 0
            self._befalls(pod, ended=True, ran=ran, code=code, reason=reason)
            self._pod_status(pod, ended, phase="Failed", reason=reason)
            self._let_go(pod)

    def node_turns(self, pick: int) -> None:
        """A node falls silent, or comes back; what runs there runs on."""
        self.nodes.turn(NODE_NAMES[pick % 2], self.clocks.wall)

    def node_is_taken(self, pick: int) -> None:
        """A node is cordoned, or the object of a silent one is deleted, or says out-of-service."""
        self.nodes.take(NODE_NAMES[pick % 2], pick // 2)

    def controllers(self, pick: int) -> None:
        """Taint manager and Pod garbage collection do their work on Pods of nodes that are lost."""
        for pod in self.pods():
            name = pod["spec"].get("nodeName", "")
            leaving = self.nodes.is_lost(name) and "deletionTimestamp" in pod["metadata"]
            if leaving or self.nodes.is_gone(name):
                self._collect(pod)
            elif self.nodes.is_silent(name) and pick % 2:
                self._condition(pod, "DisruptionTarget", "DeletionByTaintManager")
                self._delete(pod)

    def evict(self, pick: int) -> None:
        """The Eviction API: a condition and a deletion."""
        pod = _one(self.pods(), pick)
        if pod is not None and not project(pod).terminal:
            self._condition(pod, "DisruptionTarget", "EvictionByEvictionAPI")
            self._delete(pod)

    def preempt(self, pick: int) -> None:
        """The scheduler says that it will take the place of a Pod, and may think better of it."""
        pod = _one(self._running(), pick)
        if pod is not None:
            self._condition(pod, "DisruptionTarget", "PreemptionByScheduler")

    def delete_pod(self, pick: int) -> None:
        """``kubectl delete pod``."""
        pod = _one(self.pods(), pick)
        if pod is not None:
            self._delete(pod)

    def tear_away(self, pick: int) -> None:
        """Finalizer and object are removed by force; the process lives on, nobody sees it."""
        pod = _one(self._running() or self.pods(), pick)
        if pod is not None:
            self._tear_away(pod)

    # --- trainers, zombies among them -----------------------------------------------------------

    def ask(self, pick: int) -> None:
        """A trainer without a session asks for one."""
        waiting = [t for t in self._idle() if t.plan is None]
        trainer = _one(waiting, pick // 2)
        if trainer is not None:
            self._ask(trainer, self._one_of_operators(pick))

    def train(self, pick: int) -> None:
        """A trainer finishes an iteration and reports it."""
        trainer = _one(self._at_work(), pick // 2)
        if trainer is not None and trainer.iteration < self.last_iteration:
            self._iterate(trainer)
            self._report(trainer, self._one_of_operators(pick))

    def commit(self, pick: int) -> None:
        """A trainer commits a checkpoint of the iteration it is at."""
        trainer = _one(self._at_work(), pick)
        if trainer is not None:
            self._commit(trainer)

    def thrive(self, pick: int) -> None:
        """A Pod does what it should, one step; a trainer trains, reports and saves."""
        pod = _one(self.pods(), pick // 2)
        if pod is not None:
            self.behave(pod, self._one_of_operators(pick))

    def upload(self, pick: int) -> None:
        """A trainer has uploaded a checkpoint and not committed it yet."""
        trainer = _one(self._at_work(), pick)
        if trainer is not None:
            self._upload(trainer)

    def complete(self, pick: int) -> None:
        """A trainer reaches its end: record, word to the operator, exit 0."""
        trainer = _one(self._at_work(), pick // 2)
        if trainer is None or not self.bucket.up:
            return
        self._record(trainer, Outcome.COMPLETED)
        self._complete(trainer, self._one_of_operators(pick))
        pod = self.server.by_uid(trainer.uid)
        if pod is not None and pick // 16 % 2:
            self._stop(pod, 0)

    def haunt(self, pick: int) -> None:
        """A process whose Pod is gone does what it would have done."""
        ghosts = [trainer for trainer in self._at_work() if not self._alive(trainer)]
        ghost = _one(ghosts, pick // 2)
        if ghost is not None:
            self._iterate(ghost)
            self._commit(ghost)
            if pick // 8 % 4 == 0:
                self._record(ghost, Outcome.COMPLETED)
            self._report(ghost, self._one_of_operators(pick))

    # --- the world ----------------------------------------------------------------------------

    def wait(self, pick: int) -> None:
        """Time passes."""
        self.wait_seconds((0.3, 1.0, 5.0, 5.0, 31.0, LATE)[pick % 6])

    def clock_jumps(self, pick: int) -> None:
        """Somebody sets a clock, backward by little or forward by much: all, or an operator's."""
        by = timedelta(seconds=(-20, -2, 40, 600)[pick % 4])
        operator = _one([None, *self.operators], pick // 4)
        if operator is None:
            self.clocks.wall += by
        else:
            operator.clock.jumps(by)

    def store_turns(self, _: int) -> None:
        """The store goes away, or comes back."""
        self.bucket.up = not self.bucket.up

    def quota_turns(self, pick: int) -> None:
        """A quota or a policy refuses new Pods, or does not any more."""
        self.server.quota = not self.server.quota and pick % 2 == 0
        self.server.policy = not self.server.policy and pick % 2 == 1

    def suspend(self, pick: int) -> None:
        """The user suspends the experiment, or resumes it."""
        self.edit_spec(lambda spec: spec.update(suspend=not spec.get("suspend", False)))

    def change_spec(self, pick: int) -> None:
        """The user changes what may be changed."""
        most = pick // 4 % 4
        match pick % 4:
            case 0:
                self.edit_spec(lambda spec: spec.update(numSamples=TRIALS + most % 2))
            case 1:
                self.edit_spec(lambda spec: spec.update(maxConcurrentTrials=1 + most % 2))
            case 2:
                self.history.max_failures = max(self.history.max_failures, most)
                self.edit_spec(lambda spec: spec["failure"].update(maxFailures=most))
            case 3:
                limits = {"failFast": most == 1, "progressDeadlineSeconds": 40 * (most == 2)}
                self.edit_spec(lambda spec: spec["failure"].update(limits))

    def foreign_pod(self, pick: int) -> None:
        """Somebody has, or gives up, a Pod with the name of an attempt to come."""
        name = f"{EXPERIMENT}-{DIGEST}-{pick % TRIALS:05d}-{1 + pick // 2 % 3}"
        place = (PODS.plural, NAMESPACE, name)
        if place not in self.server.objects:
            meta = {"name": name, "namespace": NAMESPACE}
            self.server.make(PODS, {"kind": "Pod", "metadata": meta, "spec": {}})
        elif not _ours(self.server.objects[place]):
            self.server.delete(place)

    def delete_experiment(self, pick: int) -> None:
        """Rarely, the user deletes the experiment, or its deletion goes on."""
        if pick % 8 == 0:
            self.delete_now()
        elif self.history.deleting:
            self.collect()

    # --- pieces -------------------------------------------------------------------------------

    def behave(self, pod: Object, operator: Process) -> None:
        """Trainer and kubelet do what they should, one step."""
        trainer = self.trainers.get(_uid(pod))
        view = project(pod)
        if trainer is None or view.terminal:
            self._advance(pod)
        elif view.deleted:
            if trainer.plan is not None:
                self._commit(trainer)
                self._record(trainer, Outcome.INTERRUPTED)
            self._stop(pod, 0)
        elif trainer.asking:
            return
        elif trainer.plan is None:
            self._ask(trainer, operator)
        elif trainer.iteration < self.last_iteration:
            self._iterate(trainer)
            self._report(trainer, operator)
            self._commit(trainer)
        else:
            self._record(trainer, Outcome.COMPLETED)
            self._stop(pod, 0)

    def _operator(self, ahead: timedelta = timedelta()) -> Process:
        self.lives += 1
        return Process(
            f"operator-{self.lives}", self.server, self.bucket, ahead, collects=self.collects
        )

    def _one_of_operators(self, pick: int) -> Process:
        return self.operators[pick % len(self.operators)]

    def wait_seconds(self, seconds: float) -> None:
        """Time passes."""
        self.clocks.advance(seconds)
        for operator in self.operators:
            operator.turn()

    def delete_now(self) -> None:
        """``kubectl delete``."""
        if PLACE in self.server.objects:
            self.server.delete(PLACE)

    def collect(self) -> None:
        """The garbage collector deletes the Pods of what is deleted, or gone."""
        for pod in self.pods():
            view = project(pod)
            if view.deleted is None:
                ends = view.terminal or view.disruption_target
                self.history.collected |= set() if ends else {view.uid}
                self._delete(pod)

    def edit_spec(self, edit: Callable[[Object], object]) -> None:
        """Every change of a specification is a new generation."""
        if PLACE not in self.server.objects:
            return
        known = self.server.objects[PLACE]["spec"]

        def write(obj: Object) -> None:
            edit(obj["spec"])
            obj["metadata"]["generation"] += obj["spec"] != known
            self.history.suspended |= obj["spec"].get("suspend", False)

        self.server.change(PLACE, write)

    def pods(self) -> list[Object]:
        """All Pods that operators made."""
        return [pod for pod in self.server.of(PODS) if _ours(pod)]

    def _running(self) -> list[Object]:
        return [
            pod for pod in self.pods() if _uid(pod) in self.trainers and not project(pod).terminal
        ]

    def _idle(self) -> list[Trainer]:
        return [
            self.trainers[uid] for uid in sorted(self.trainers) if not self.trainers[uid].asking
        ]

    def _at_work(self) -> list[Trainer]:
        return [trainer for trainer in self._idle() if trainer.plan is not None]

    def _advance(self, pod: Object) -> None:
        view, now = project(pod), instants.render(self.clocks.wall)
        if not view.node and not view.deleted and not view.terminal:
            node = self.nodes.place(len(self.trainers))
            if node:
                self.server.change(_place(pod), lambda obj: obj["spec"].update(nodeName=node))
                self._condition(pod, "PodScheduled", "")
        elif not self.nodes.reaches(pod):
            return
        elif view.uid in self.unheard:
            self._stop(pod, self.unheard.pop(view.uid))
        elif view.terminal:
            self._let_go(pod)
        elif view.deleted and not view.trainer.started:
            # What the kubelet says of a container it never started (status_manager.go).
            unknown = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
            self._befalls(pod, ended=True, code=137)
            self._pod_status(pod, unknown, phase="Failed")
            self._let_go(pod)
        elif not view.trainer.started:
            self._pod_status(pod, {"running": {"startedAt": now}}, phase="Running")
            identity = PodIdentity(view.namespace, view.name, view.uid)
            self.trainers[view.uid] = Trainer(identity, view.trial, view.attempt)

    def _stop(self, pod: Object, code: int) -> None:
        """The process has ended; the API server hears of it while the node is there."""
        self.trainers.pop(_uid(pod), None)
        if not self.nodes.reaches(pod):
            self.unheard[_uid(pod)] = code
            return
        self._befalls(pod, ended=True, ran=True, code=code)
        self._pod_status(pod, _terminated(code), phase="Succeeded" if code == 0 else "Failed")
        self._let_go(pod)

    def _collect(self, pod: Object) -> None:
        """Pod garbage collection: the Pod failed, and its object goes without a kubelet."""
        if not project(pod).terminal:
            self._condition(pod, "DisruptionTarget", "DeletionByPodGC")
            self._befalls(pod, ended=True)
            self.server.change(_place(pod), lambda obj: obj["status"].update(phase="Failed"))
        if _place(pod) in self.server.objects:
            self._delete(pod)
        self._let_go(pod)

    def _let_go(self, pod: Object) -> None:
        if _place(pod) in self.server.objects:
            self.server.let_go(_place(pod))

    def _befalls(self, pod: Object, **news: Any) -> None:
        self.history.fates.befalls(_uid(pod), **news)

    def _delete(self, pod: Object) -> None:
        self._befalls(pod, deleted=True)
        if not pod["spec"].get("nodeName"):
            self._befalls(pod, ended=True)  # never placed: nothing is left to end
        self.server.delete(_place(pod))

    def _tear_away(self, pod: Object) -> None:
        self.history.collected.discard(_uid(pod))  # whoever finds it gone cannot know more
        self._befalls(pod, torn=True)
        self.server.change(_place(pod), lambda obj: obj["metadata"].update(finalizers=[]))
        if _place(pod) in self.server.objects:
            self.server.delete(_place(pod))
        self._let_go(pod)

    def _pod_status(self, pod: Object, trainer: Object | None, **fields: Any) -> None:
        containers = [{"name": "trainer", "state": trainer}] if trainer else []

        def edit(obj: Object) -> None:
            obj["status"].update(fields, containerStatuses=containers)

        self.server.change(_place(pod), edit)

    def _condition(self, pod: Object, kind: str, reason: str) -> None:
        now = instants.render(self.clocks.wall)
        new = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": now}
        if kind == "DisruptionTarget":
            self._befalls(pod, taken=True)

        def edit(obj: Object) -> None:
            known = obj["status"].setdefault("conditions", [])
            if kind not in [condition["type"] for condition in known]:
                known.append(new)

        self.server.change(_place(pod), edit)

    # --- what trainers do -----------------------------------------------------------------------

    def _ask(self, trainer: Trainer, operator: Process) -> None:
        request = SessionRequest(trainer.trial, trainer.attempt)
        self._send(trainer, operator, lambda sink: sink.session(trainer.pod, request))

    def _report(self, trainer: Trainer, operator: Process) -> None:
        request = ResultsRequest(trainer.attempt, trainer.spool, self._manifests(trainer))
        self._send(trainer, operator, lambda sink: sink.results(trainer.pod, request))

    def _complete(self, trainer: Trainer, operator: Process) -> None:
        data = self.bucket.objects.get(KEYS.trial(trainer.trial).exit_record(trainer.attempt))
        if data is not None:
            exit_record = ExitRecord.from_bytes(data)
            request = CompleteRequest(trainer.attempt, exit_record, self._manifests(trainer))
            self._send(trainer, operator, lambda sink: sink.complete(trainer.pod, request))

    def _send(self, trainer: Trainer, operator: Process, request: Any) -> None:
        trainer.asking = True
        operator.ask(request, partial(self._answered, trainer))

    def _answered(self, trainer: Trainer, answer: Any) -> None:
        trainer.asking = False
        match answer:
            case SessionResponse() if trainer.plan is None:
                plan = answer.plan
                self.history.session_given(trainer.trial, trainer.attempt, trainer.uid, plan)
                trainer.plan = plan
                trainer.iteration = plan[0].iteration if plan else 0
            case ResultsResponse():
                self.history.durable(trainer.trial, trainer.attempt, answer.durable)
                trainer.spool = tuple(r for r in trainer.spool if r.seq > answer.durable)
                self._obey(trainer, answer.directive)
            case Outdated():
                self.history.sent_away(trainer.trial, trainer.attempt, trainer.uid)
                pod = self.server.by_uid(trainer.uid)
                if pod is not None and trainer.uid in self.trainers:
                    self._stop(pod, 75)
                self.trainers.pop(trainer.uid, None)

    def _obey(self, trainer: Trainer, directive: Directive) -> None:
        if directive.kind is DirectiveKind.CHECKPOINT:
            self._commit(trainer)
        elif directive.kind is DirectiveKind.STOP and self.bucket.up:
            self._commit(trainer)
            self._record(trainer, Outcome.STOPPED)
            pod = self.server.by_uid(trainer.uid)
            if pod is not None:
                self._stop(pod, 0)

    def _iterate(self, trainer: Trainer) -> None:
        trainer.iteration += 1
        trainer.seq += 1
        metrics = {"score": self._objective(trainer), "training_iteration": trainer.iteration}
        trainer.spool = (*trainer.spool, Result(trainer.seq, metrics))

    def _objective(self, trainer: Trainer) -> float:
        over = (trainer.trial, trainer.attempt) in self.history.settled
        return ZOMBIE if over else float(trainer.iteration)

    def _alive(self, trainer: Trainer) -> bool:
        """Nobody could have given it up yet."""
        pod = self.server.by_uid(trainer.uid)
        if pod is None or project(pod).terminal:
            return False
        return project(pod).deleted is None or trainer.uid not in self.history.lost_sight

    def _manifests(self, trainer: Trainer) -> tuple[CheckpointRef, ...]:
        prefix = KEYS.trial(trainer.trial).manifests(trainer.attempt)
        keys = sorted(key for key in self.bucket.objects if key.startswith(prefix))
        return tuple(ref for key in keys if (ref := parse_manifest_key(key)) is not None)

    def _commit(self, trainer: Trainer) -> None:
        ref = CheckpointRef(trainer.attempt, trainer.iteration)
        if self._upload(trainer):
            trainer.saved = trainer.iteration
            key = KEYS.trial(trainer.trial).manifest(ref)
            self.bucket.objects[key] = self._manifest(trainer, ref)
            self.history.committed(trainer.trial, ref, alive=self._alive(trainer))

    def _upload(self, trainer: Trainer) -> bool:
        """The data, once, unless they are there or nothing is to be saved."""
        restored = trainer.plan[0].iteration if trainer.plan else 0
        if not self.bucket.up or trainer.iteration <= max(restored, trainer.saved):
            return False
        if trainer.uploaded < trainer.iteration:
            trainer.uploaded = trainer.iteration
            ref = CheckpointRef(trainer.attempt, trainer.iteration)
            self.bucket.objects[f"{KEYS.trial(trainer.trial).data(ref, 'n')}model"] = b"."
        return True

    def _manifest(self, trainer: Trainer, ref: CheckpointRef) -> bytes:
        return Manifest(
            experiment=EXPERIMENT,
            trial=trainer.trial,
            ref=ref,
            nonce="n",
            time=instants.render(self.clocks.wall) or "",
            kind="json",
            relative="",
            metrics={"score": self._objective(trainer), "training_iteration": trainer.iteration},
            progress={},
            files=(),
            results=trainer.spool,
        ).to_bytes()

    def _record(self, trainer: Trainer, outcome: Outcome) -> None:
        key = KEYS.trial(trainer.trial).exit_record(trainer.attempt)
        if not self.bucket.up or trainer.plan is None or key in self.bucket.objects:
            return
        metrics = {"score": self._objective(trainer), "training_iteration": trainer.iteration}
        record = ExitRecord(
            experiment=EXPERIMENT,
            trial=trainer.trial,
            attempt=trainer.attempt,
            outcome=outcome,
            reason=outcome.value,
            message="",
            iteration=trainer.iteration,
            time=instants.render(self.clocks.wall) or "",
            last_result=Result(trainer.seq, metrics) if trainer.seq else None,
            results=trainer.spool,
        )
        self.bucket.objects[key] = record.to_bytes()
        self.history.fates.befalls(trainer.uid, record=outcome)
        if outcome is Outcome.COMPLETED and self._alive(trainer):
            self.history.completed_by(trainer.trial, trainer.attempt)


def _place(pod: Object) -> tuple[str, str, str]:
    return PODS.plural, pod["metadata"]["namespace"], pod["metadata"]["name"]


def _ours(pod: Object) -> bool:
    return constants.LABEL_TRIAL in (pod["metadata"].get("labels") or {})


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def _terminated(code: int) -> Object:
    return {"terminated": {"exitCode": code, "startedAt": "2026-03-01T12:00:00Z"}}


def _one(found: Sequence[T], pick: int) -> T | None:
    return found[pick % len(found)] if found else None
