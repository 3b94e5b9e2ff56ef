"""What can happen: two operators, a kubelet, trainers, users and faults, one small step at a time.

What can happen takes one number that picks among what is possible; what is not possible does
nothing. So any sequence of numbers is a history, for Hypothesis as for a seeded generator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from tests.model.cluster import Cluster, Pod
from tests.model.history import ZOMBIE, History, hold
from tests.model.operator import Operator
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.observation import Progress
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.result import Result

T = TypeVar("T")
LATE = timedelta(seconds=61)
"""Longer than any bound of a deletion here."""

LAST_ITERATION = 3
EXIT_CODES = (0, 0, 1, 75, 137, 143)
NODE_REASONS = ("OutOfcpu", "Evicted", "NodeShutdown", "Terminated")


@dataclass
class Trainer:
    """A process. ``plan`` is None until a session was given; it may outlive its Pod."""

    uid: str
    trial: str
    attempt: int
    plan: tuple[CheckpointRef, ...] | None = None
    iteration: int = 0
    seq: int = 0


@dataclass
class Play:
    """One world and all that moves in it."""

    history: History = field(default_factory=History)
    trainers: dict[str, Trainer] = field(default_factory=dict)
    cluster: Cluster = field(init=False)
    operators: list[Operator] = field(init=False)

    def __post_init__(self) -> None:
        self.cluster = Cluster(self.history)
        self.operators = [Operator(self.cluster), Operator(self.cluster)]
        for operator in self.operators:
            operator.relist()

    # --- operators ----------------------------------------------------------------------------

    def look(self, pick: int) -> None:
        """An operator whose caches are fresh looks, undisturbed."""
        operator = self._operator(pick)
        operator.relist()
        operator.finish()

    def look_stale(self, pick: int) -> None:
        """An operator looks at what it happens to know."""
        self._operator(pick).finish()

    def step(self, pick: int) -> None:
        """An operator goes on to its next await."""
        self._operator(pick).step()

    def hear_pod(self, pick: int) -> None:
        """One event of a watch arrives."""
        operator = self._operator(pick)
        name = _one(sorted({*operator.pods, *self.cluster.pods}), pick // 2)
        if name is not None:
            operator.see_pod(name)

    def hear_experiment(self, pick: int) -> None:
        """A newer version of the experiment arrives."""
        self._operator(pick).see_experiment()

    def lose_cache(self, pick: int) -> None:
        """A list that is behind replaces what was known of Pods."""
        self._operator(pick).pods.clear()

    def crash(self, pick: int) -> None:
        """An operator is killed and started again."""
        self._operator(pick).crash()

    def fault(self, pick: int) -> None:
        """The next write of an operator goes wrong."""
        self._operator(pick).fault = ("before", "after")[pick // 2 % 2]

    def throttle(self, pick: int) -> None:
        """Progress is written at once, or waits."""
        operator = self._operator(pick)
        operator.lazy = not operator.lazy

    # --- nodes --------------------------------------------------------------------------------

    def kubelet(self, pick: int) -> None:
        """A Pod gets a node, or its trainer starts, or its deletion is confirmed."""
        pod = _one(self._pods(), pick)
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
            self._record(self.trainers[pod.uid], outcome)
        self._stop(pod, code)

    def node_fails(self, pick: int) -> None:
        """The kubelet gives a Pod up, before or after its trainer started."""
        pod = _one([pod for pod in self._pods() if not pod.view.terminal and pod.node], pick)
        if pod is not None:
            reason = NODE_REASONS[pick // 8 % len(NODE_REASONS)]
            self.trainers.pop(pod.uid, None)
            state = _terminated(137) if pod.trainer else None
            self.cluster.change(pod, phase="Failed", reason=reason, trainer=state, confirmed=True)

    def evict(self, pick: int) -> None:
        """The Eviction API: a condition and a deletion."""
        pod = _one(self._pods(), pick)
        if pod is not None and pod.phase in ("Pending", "Running"):
            self.cluster.change(pod, target=True)
            self.cluster.delete_pod(pod)

    def delete_pod(self, pick: int) -> None:
        """``kubectl delete pod``."""
        pod = _one(self._pods(), pick)
        if pod is not None:
            self.cluster.delete_pod(pod)

    def tear_away(self, pick: int) -> None:
        """Finalizer and object are removed by force; the process lives on, nobody sees it."""
        pod = _one(self._running() or self._pods(), pick)
        if pod is not None:
            self.cluster.change(pod, tracked=False, confirmed=True, deleted=self.cluster.now)

    # --- trainers, zombies among them -----------------------------------------------------------

    def ask(self, pick: int) -> None:
        """A trainer without a session asks for one."""
        waiting = [t for t in self._trainers() if t.plan is None]
        trainer = _one(waiting, pick // 2)
        if trainer is not None:
            self._ask(trainer, self._operator(pick))

    def train(self, pick: int) -> None:
        """A trainer finishes an iteration and reports it."""
        trainer = _one(self._at_work(), pick // 2)
        if trainer is not None and trainer.iteration < LAST_ITERATION:
            trainer.iteration += 1
            trainer.seq += 1
            self._report(trainer, self._operator(pick))

    def commit(self, pick: int) -> None:
        """A trainer commits a checkpoint of the iteration it is at."""
        trainer = _one(self._at_work(), pick)
        if trainer is not None:
            self._commit(trainer)

    def complete(self, pick: int) -> None:
        """A trainer reaches its end: record, word to the operator, exit 0."""
        trainer = _one(self._at_work(), pick // 2)
        if trainer is None or not self.cluster.store.up:
            return
        self._record(trainer, Outcome.COMPLETED)
        self._report(trainer, self._operator(pick), completed=True)
        pod = self.cluster.by_uid(trainer.uid)
        if pod is not None and pick // 16 % 2:
            self._stop(pod, 0)

    def haunt(self, pick: int) -> None:
        """A process whose Pod is gone does what it would have done."""
        ghost = _one(
            [trainer for trainer in self._at_work() if not self._alive(trainer)], pick // 2
        )
        if ghost is not None:
            ghost.iteration += 1
            self._commit(ghost)
            if pick // 8 % 4 == 0:
                self._record(ghost, Outcome.COMPLETED)
            self._report(ghost, self._operator(pick))

    # --- the world ----------------------------------------------------------------------------

    def wait(self, pick: int) -> None:
        """Time passes."""
        self.cluster.now += timedelta(seconds=(1, 5, 31, 61)[pick % 4])

    def store_turns(self, _: int) -> None:
        """The store goes away, or comes back."""
        self.cluster.store.up = not self.cluster.store.up

    def delete_experiment(self, pick: int) -> None:
        """Rarely, the user deletes the experiment."""
        if pick % 8 == 0:
            self.cluster.delete_experiment()

    # --- the end ------------------------------------------------------------------------------

    def settle_down(self) -> None:
        """P13: faults stop, one operator stays: the end is reached, and then nothing is written."""
        self.cluster.store.up = True
        operator = self.operators[0]
        operator.crash()
        operator.lazy = False
        for _ in range(60):
            self.cluster.now += timedelta(seconds=5)
            for pod in self._pods():
                self._behave(pod, operator)
            operator.relist()
            operator.finish()
            if self._is_over():
                break
        hold("P13", self._is_over(), f"no end was reached: {self.cluster.experiment}")
        before = self.cluster.version
        for _ in range(3):
            self.cluster.now += LATE
            operator.relist()
            operator.finish()
        hold("P13", self.cluster.version == before, "something is written after the end")

    def come_to_an_end(self, *, deleted: bool) -> None:
        """By itself, or by a deletion half-way; P7: after a deletion nothing is left."""
        if not deleted:
            self.settle_down()
        self.cluster.delete_experiment()
        self.settle_down()
        hold("P7", self.cluster.experiment is None, "the object is stuck")
        hold("P7", not self.cluster.pods, f"left behind: {list(self.cluster.pods)}")

    def _is_over(self) -> bool:
        known = self.cluster.experiment
        if known is None or known.deleted:
            return known is None and not self.cluster.pods
        done = [row["state"] in ("Terminated", "Errored") for row in known.status.get("trials", [])]
        return "completionTime" in known.status and all(done) and not self.cluster.pods

    def _behave(self, pod: Pod, operator: Operator) -> None:
        """Trainer and kubelet do what they should, one step."""
        trainer = self.trainers.get(pod.uid)
        running = trainer is not None and not pod.view.terminal
        if trainer is None or not running:
            self._advance(pod)
        elif pod.deleted:
            if trainer.plan is not None:
                self._commit(trainer)
                self._record(trainer, Outcome.INTERRUPTED)
            self._stop(pod, 0)
        elif trainer.plan is None:
            self._ask(trainer, operator)
        elif trainer.iteration < LAST_ITERATION:
            trainer.iteration += 1
            trainer.seq += 1
            self._report(trainer, operator)
            self._commit(trainer)
        else:
            self._record(trainer, Outcome.COMPLETED)
            self._stop(pod, 0)

    # --- pieces -------------------------------------------------------------------------------

    def _operator(self, pick: int) -> Operator:
        return self.operators[pick % 2]

    def _pods(self) -> list[Pod]:
        return [self.cluster.pods[name] for name in sorted(self.cluster.pods)]

    def _running(self) -> list[Pod]:
        return [pod for pod in self._pods() if pod.uid in self.trainers and not pod.view.terminal]

    def _trainers(self) -> list[Trainer]:
        return [self.trainers[uid] for uid in sorted(self.trainers)]

    def _at_work(self) -> list[Trainer]:
        return [trainer for trainer in self._trainers() if trainer.plan is not None]

    def _advance(self, pod: Pod) -> None:
        now = self.cluster.now
        if pod.view.terminal:
            self.cluster.change(pod, confirmed=True)
        elif pod.deleted and pod.trainer is None:
            # What the kubelet says of a container it never started (status_manager.go).
            unknown = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
            self.cluster.change(pod, phase="Failed", trainer=unknown, confirmed=True)
        elif not pod.node:
            self.cluster.change(pod, node="node-1", scheduled=now)
        elif pod.trainer is None:
            state = {"running": {"startedAt": instants.render(now)}}
            self.cluster.change(pod, phase="Running", trainer=state)
            self.trainers[pod.uid] = Trainer(pod.uid, pod.trial, pod.attempt)

    def _stop(self, pod: Pod, code: int) -> None:
        self.trainers.pop(pod.uid, None)
        phase = "Succeeded" if code == 0 else "Failed"
        self.cluster.change(pod, phase=phase, trainer=_terminated(code), confirmed=True)

    def _ask(self, trainer: Trainer, operator: Operator) -> None:
        answer = operator.session(trainer.trial, trainer.attempt, trainer.uid)
        if answer == "outdated":
            pod = self.cluster.by_uid(trainer.uid)
            self.trainers.pop(trainer.uid)
            if pod is not None:
                self._stop(pod, 75)
        elif not isinstance(answer, str):
            self.history.session_given(trainer.trial, trainer.attempt, trainer.uid, answer)
            trainer.plan = answer
            trainer.iteration = answer[0].iteration if answer else 0

    def _alive(self, trainer: Trainer) -> bool:
        pod = self.cluster.by_uid(trainer.uid)
        return pod is not None and not pod.view.terminal

    def _objective(self, trainer: Trainer) -> float:
        over = (trainer.trial, trainer.attempt) in self.history.settled
        return ZOMBIE if over else float(trainer.iteration)

    def _report(self, trainer: Trainer, operator: Operator, *, completed: bool = False) -> None:
        newest = [
            ref
            for ref in self.cluster.store.manifests.get(trainer.trial, [])
            if ref.attempt == trainer.attempt
        ]
        news = Progress(
            trainer.attempt,
            seq=trainer.seq,
            iteration=trainer.iteration,
            objective=self._objective(trainer),
            checkpoint=max(newest, default=None),
            completed=completed,
        )
        operator.report(trainer.uid, trainer.trial, news)

    def _commit(self, trainer: Trainer) -> None:
        ref = CheckpointRef(trainer.attempt, trainer.iteration)
        stored = self.cluster.store.manifests.setdefault(trainer.trial, [])
        restored = trainer.plan[0].iteration if trainer.plan else 0
        if self.cluster.store.up and ref not in stored and trainer.iteration > restored:
            stored.append(ref)
            self.history.committed(trainer.trial, ref, alive=self._alive(trainer))

    def _record(self, trainer: Trainer, outcome: Outcome) -> None:
        key = (trainer.trial, trainer.attempt)
        if not self.cluster.store.up or trainer.plan is None or key in self.cluster.store.exits:
            return
        metrics = {"score": self._objective(trainer), "training_iteration": trainer.iteration}
        self.cluster.store.exits[key] = ExitRecord(
            experiment="digits",
            trial=trainer.trial,
            attempt=trainer.attempt,
            outcome=outcome,
            reason=outcome.value,
            message="",
            iteration=trainer.iteration,
            time="2026-03-01T12:00:00Z",
            last_result=Result(trainer.seq + 1, metrics),
        )
        if outcome is Outcome.COMPLETED and self._alive(trainer):
            self.history.completed_by(trainer.trial, trainer.attempt)


def _one(options: list[T], pick: int) -> T | None:
    return options[pick % len(options)] if options else None


def _terminated(code: int) -> dict[str, object]:
    return {"terminated": {"exitCode": code, "startedAt": "2026-03-01T12:00:00Z"}}
