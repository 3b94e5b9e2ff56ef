"""One operator: caches that lag, and a reconcile that can be stopped before and after every step.

`reconcile` does what `tune_operator.reconciler` does, in the same order, with the same pure
functions; it yields wherever the real one awaits, so that anything may happen in between.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tests.model.cluster import EXPERIMENT, NAMESPACE, UID, Cluster, Conflict, Lost
from tests.model.cluster import Experiment as Stored
from tests.model.history import MAX_FAILURES
from tune_operator.api.models import TuneExperimentSpec
from tune_operator.lifecycle import status
from tune_operator.lifecycle.actions import (
    Action,
    DeletePod,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.lifecycle.conditions import Finding, Findings, conditions
from tune_operator.lifecycle.decide import Decision, decide
from tune_operator.lifecycle.evidence import ExitKnowledge, Unread
from tune_operator.lifecycle.observation import (
    AttemptKey,
    Experiment,
    Observation,
    Progress,
    needs_store,
    pod_name,
)
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_trainer.protocol.keys import CheckpointRef, RunKeys

TRIALS = 2
SPEC = TuneExperimentSpec.model_validate(
    {
        "objective": {"metric": "score", "mode": "max"},
        "numSamples": TRIALS,
        "maxConcurrentTrials": 2,
        "search": {"space": {"lr": {"uniform": {"lower": 0.0, "upper": 1.0}}}},
        "storage": {
            "uri": "s3://tune/team-a",
            "endpoint": "https://minio.storage.svc:9000",
            "credentials": {"mode": "Secret", "secretRef": {"name": "store"}},
        },
        "failure": {
            "maxFailures": MAX_FAILURES,
            "backoff": {"initialSeconds": 1, "maxSeconds": 4},
            "startTimeoutSeconds": 60,
        },
        "stopGracePeriodSeconds": 30,
        "trainer": {"image": "example/train:1", "entrypoint": "digits:Digits"},
    }
)
FACTS = status.RunFacts(
    "s3://tune", "tune", RunKeys.of("", NAMESPACE, EXPERIMENT, UID), lambda _: {"lr": 1}
)
FINE = Findings(Finding(ok=True, reason="Valid"), Finding(ok=True, reason="Claimed"))
OBJECT = Experiment(NAMESPACE, EXPERIMENT, UID, 1, None, has_finalizer=True, spec=SPEC)


class Failed(Exception):
    """This look ends here; the worker comes back later."""


@dataclass
class Operator:
    """``heard`` is the object as its watch told it last, ``experiment`` the version this look is
    about. ``fault`` strikes the next write: "before" (it never arrives) or "after" (it did, but no
    answer came). ``lazy``: mere progress waits for the throttle.
    """

    cluster: Cluster
    heard: Stored | None = None
    experiment: Stored | None = None
    pods: dict[str, PodView] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    silent_since: dict[AttemptKey, datetime] = field(default_factory=dict)
    term: int = 0
    fault: str = ""
    lazy: bool = False
    running: Iterator[None] | None = None

    # --- life ---------------------------------------------------------------------------------

    def crash(self) -> None:
        """The process dies, wherever it is; the next one knows what a LIST tells it."""
        self.pods, self.progress, self.silent_since = {}, {}, {}
        self.term, self.fault, self.running = 0, "", None
        self.relist()

    def relist(self) -> None:
        """Both caches are as the API server is now."""
        self.see_experiment()
        self.pods = {pod.name: pod.view for pod in self.cluster.pods.values()}

    def see_experiment(self) -> None:
        """The experiment's newest version arrives; the next look is about it."""
        self.heard = self.cluster.experiment

    def see_pod(self, name: str) -> None:
        """The newest word on one Pod arrives."""
        pod = self.cluster.pods.get(name)
        if pod is None:
            self.pods.pop(name, None)
        else:
            self.pods[name] = pod.view

    def remember(self, experiment: Stored | None) -> None:
        """Go on from this version; what was reported of attempts that are over is dropped."""
        self.heard = self.experiment = experiment
        state = self.state
        for name, news in list(self.progress.items()):
            trial = state.trial(name)
            if trial is None or not trial.open or trial.attempt != news.attempt:
                del self.progress[name]

    @property
    def state(self) -> RunState:
        """The durable state as this operator knows it."""
        return status.read(self.experiment.status if self.experiment else {})

    def step(self) -> None:
        """Go on to the next point at which something may happen in between."""
        if self.running is None:
            self.running = self.look()
        if next(self.running, "over") == "over":
            self.running = None

    def finish(self) -> None:
        """Go on to the end of this look."""
        self.step()
        while self.running is not None:
            self.step()

    # --- one look -----------------------------------------------------------------------------

    def look(self) -> Iterator[None]:
        """A reconcile with its worker: errors end it, a conflict reloads."""
        try:
            yield from self.reconcile()
        except Conflict:
            self.remember(self.cluster.experiment)
        except (Lost, Failed):
            pass

    def reconcile(self) -> Iterator[None]:
        """Observe, decide, write once, act."""
        self.remember(self.heard)
        known = self.experiment
        if known is None:
            yield from self.release_strays()
            return
        state = self.state
        idle = known.deleted is not None or state.ended is not None
        if not idle and not known.finalizer:
            yield
            self._strike(lambda: self.cluster.set_finalizer(held=True))
            self.see_experiment()
            return
        may_start = False
        if not idle:
            may_start = yield from self.claim()
        observation = yield from self.observe(may_start=may_start)
        decision = decide(observation)
        yield from self.carry_out(observation, decision)

    def carry_out(self, observation: Observation, decision: Decision) -> Iterator[None]:
        """The status write first; only what it landed may be acted upon."""
        yield from self.write(observation, decision)
        for trial, attempt in decision.starts:
            yield
            self.create(trial, attempt)
        yield from self.act(decision.actions)

    def claim(self) -> Generator[None, None, bool]:
        """Hold the run: the term in the status, then the claim in the store."""
        if self.term and self.term == self.state.term:
            return True
        if not self.cluster.store.answers() or self.experiment is None:
            return False
        term = 1 + max([self.state.term, *self.cluster.store.claims])
        yield
        changed = {**self.experiment.status, "runID": UID, "journal": {"term": term}}
        self._put(changed)
        yield
        if not self.cluster.store.answers():
            return False
        self.cluster.store.claims.append(term)
        if max(self.cluster.store.claims) > term:
            raise Failed
        self.term = term
        return True

    def observe(self, *, may_start: bool) -> Generator[None, None, Observation]:
        """Every read a decision needs, from the cache or live."""
        known, state = self.experiment, self.state
        assert known is not None
        for trial in state.open_attempts:
            yield from self.confirm(trial)
        observation = Observation(
            now=self.cluster.now,
            experiment=replace(OBJECT, deleted=known.deleted, has_finalizer=known.finalizer),
            state=state,
            pods=tuple(self.pods.values()),
            total=TRIALS,
            may_start=may_start,
            progress=dict(self.progress),
        )
        exits: dict[AttemptKey, ExitKnowledge] = {}
        committed: dict[str, tuple[CheckpointRef, ...]] = {}
        for key in needs_store(observation):
            exits[key], committed[key[0]] = yield from self.ending(key)
            self.silent_since.setdefault(key, self.cluster.now)
        return replace(
            observation, exits=exits, committed=committed, silent_since=dict(self.silent_since)
        )

    def confirm(self, trial: TrialState) -> Iterator[None]:
        """Absence in the cache proves nothing, and neither does another Pod of the name."""
        name = pod_name(EXPERIMENT, "00000", trial.name, trial.attempt)
        known = self.pods.get(name)
        if known is None or trial.pod_uid not in ("", known.uid):
            yield
            self.see_pod(name)

    def ending(
        self, key: AttemptKey
    ) -> Generator[None, None, tuple[ExitKnowledge, tuple[CheckpointRef, ...]]]:
        """Exit record, then the one LIST of manifests."""
        store = self.cluster.store
        yield
        if not store.answers():
            return Unread.UNDECIDED, ()
        record = store.exits.get(key)
        yield
        if not store.answers():
            return Unread.UNDECIDED, ()
        return record, tuple(store.manifests.get(key[0], ()))

    # --- writes -------------------------------------------------------------------------------

    def write(self, observation: Observation, decision: Decision) -> Iterator[None]:
        """The one status write, if anything changed that cannot wait."""
        before = self.experiment.status if self.experiment else {}
        deleting = observation.experiment.deleted is not None
        found = conditions(decision.state, TRIALS, FINE, decision.verdicts, deleting=deleting)
        after = status.render(observation, decision.state, FACTS, found, before)
        if after == before or (self.lazy and not decision.urgent):
            return
        yield
        self._put(after)

    def _put(self, after: dict[str, Any]) -> None:
        known = self.experiment
        assert known is not None

        def put() -> Stored:
            return self.cluster.write_status(known.version, after)

        self.remember(self._strike(put))

    def create(self, trial: str, attempt: int) -> None:
        """Create the Pod, or find it created."""
        name = pod_name(EXPERIMENT, "00000", trial, attempt)
        try:
            self._strike(lambda: self.cluster.create_pod(name, trial, attempt))
        except Lost:
            return
        self.see_pod(name)

    def act(self, actions: tuple[Action, ...]) -> Iterator[None]:
        """Destructive actions in order, each after a live read, tied to the UID."""
        failed = False
        for action in actions:
            try:
                if isinstance(action, DeletePod):
                    yield
                    self._delete(action.uid)
                elif isinstance(action, ReleasePod):
                    yield
                    self._release(action.uid)
                    yield
                    self._delete(action.uid)
                elif isinstance(action, RemoveExperimentFinalizer) and not failed:
                    yield
                    self._strike(lambda: self.cluster.set_finalizer(held=False))
                    self.see_experiment()
            except Lost:
                failed = True

    def _release(self, uid: str) -> None:
        pod = self.cluster.by_uid(uid)
        if pod is not None:
            self.cluster.history.pod_removed(self.cluster, uid)
            self._strike(lambda: self.cluster.change(pod, tracked=False))
            self.see_pod(pod.name)

    def _delete(self, uid: str) -> None:
        pod = self.cluster.by_uid(uid)
        if pod is not None and pod.deleted is None:
            self.cluster.history.pod_removed(self.cluster, uid)
            self._strike(lambda: self.cluster.delete_pod(pod))
            self.see_pod(pod.name)

    def release_strays(self) -> Iterator[None]:
        """Pods whose experiment is gone, asked for live."""
        for view in list(self.pods.values()):
            yield
            if self.cluster.experiment is None:
                self._release(view.uid)
                yield
                self._delete(view.uid)
                self.see_pod(view.name)

    def _strike(self, write: Any) -> Any:
        fault, self.fault = self.fault, ""
        if fault == "before":
            raise Lost
        done = write()
        if fault == "after":
            raise Lost
        return done

    # --- what trainers ask --------------------------------------------------------------------

    def session(self, trial: str, attempt: int, uid: str) -> tuple[CheckpointRef, ...] | str:
        """The resume plan, or why not: "outdated" or "wait"."""
        known = self.state.trial(trial)
        if self.experiment is None or not self.term:
            return "wait"
        if self.cluster.by_uid(uid) is None:
            return "outdated"
        if known is None or not known.open or known.attempt != attempt:
            return "outdated"
        if known.pod_uid == "":
            return "wait"
        return known.plan if known.pod_uid == uid else "outdated"

    def report(self, uid: str, trial: str, news: Progress) -> None:
        """A result, taken in once if the Pod is the bound one."""
        answer = self.session(trial, news.attempt, uid)
        if isinstance(answer, str):
            return
        known = self.progress.get(trial)
        if known is None or known.seq <= news.seq:
            self.progress[trial] = news
