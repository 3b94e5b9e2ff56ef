"""The promises, held against everything that is ever written (DESIGN 2).

The history is told of every write as it happens and remembers enough to judge the next one. A
broken promise raises Broken, which names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.model.chain import Record, chain, segments
from tests.model.fates import DISRUPTION, FAILURE, INFRASTRUCTURE, NOTHING, Fates
from tune_operator.api import constants
from tune_operator.experiment import records
from tune_operator.kube.resources import EXPERIMENTS, PODS
from tune_operator.kube.transport import Object
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.pod_view import project
from tune_operator.lifecycle.settle import PLAN_LIMIT
from tune_operator.lifecycle.trial_state import RunState, StopIntent, TrialState
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, SegmentRef

if TYPE_CHECKING:
    from tests.model.cluster import ApiServer, Bucket
    from tests.model.retained import Retained

NAMESPACE, EXPERIMENT, UID = "team-a", "digits", "5f0c9d4e-0000-4000-8000-000000000001"
KEYS = RunKeys.of("team-a", NAMESPACE, EXPERIMENT, UID)
PLACE = (EXPERIMENTS.plural, NAMESPACE, EXPERIMENT)
MAX_FAILURES = 2
STOP_BOUND = timedelta(seconds=50)
"""How long the deletion of the experiment may take: its Pods' grace of 20 s, and 30."""

ZOMBIE = 1e9
"""The objective reported and recorded by attempts that were settled; nobody may ever show it."""

Attempt = tuple[str, int]


class Broken(AssertionError):
    """A promise was broken. ``promise`` is its short name."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


def hold(promise: str, holds: object, what: str) -> None:
    """Raise Broken unless it holds."""
    if not holds:
        raise Broken(promise, what)


@dataclass
class History:
    """What happened so far.

    ``state`` is the run as far as it was ever acknowledged, ``segments`` what it is made of, and
    ``results`` the last one of each attempt in it. ``lives`` is what `status.live` should have been
    all the time, ``told`` how much of that the status has told, ``shown`` its attempts.

    ``honest`` are commits of attempts whose Pod existed and had not ended, ``late`` those made
    after the attempt was settled; ``completed`` trials with an honest completion record.
    ``lost_sight`` are Pods whose node was unreachable, ``collected`` those that were well until
    they were deleted with their experiment. ``max_failures`` is the most there ever was,
    ``suspended`` whether it ever was, ``fates`` what befell each Pod.
    """

    state: RunState = field(default_factory=RunState)
    segments: list[SegmentRef] = field(default_factory=list)
    results: dict[Attempt, int] = field(default_factory=dict)
    shown: set[Attempt] = field(default_factory=set)
    told: int = 0
    lives: list[Mapping[str, str]] = field(default_factory=lambda: [{}])
    uids: dict[str, Attempt] = field(default_factory=dict)
    intents: set[Attempt] = field(default_factory=set)
    bound: dict[Attempt, str] = field(default_factory=dict)
    settled: set[Attempt] = field(default_factory=set)
    honest: dict[str, set[CheckpointRef]] = field(default_factory=dict)
    late: dict[str, set[CheckpointRef]] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    lost_sight: set[str] = field(default_factory=set)
    collected: set[str] = field(default_factory=set)
    max_failures: int = MAX_FAILURES
    suspended: bool = False
    fates: Fates = field(default_factory=Fates)
    retention: Retained = field(init=False)
    server: ApiServer = field(init=False)
    bucket: Bucket = field(init=False)

    @property
    def experiment(self) -> Object | None:
        """The object as it is now."""
        return self.server.objects.get(PLACE)

    @property
    def deleting(self) -> bool:
        """The user deleted the experiment; it may be gone."""
        known = self.experiment
        return known is None or "deletionTimestamp" in known["metadata"]

    # --- what is remembered -------------------------------------------------------------------

    def stored(self, key: str, known: bytes | None, data: bytes) -> None:
        """Something is about to be written into the store."""
        same = known is None or known == data or not key.startswith(KEYS.journal())
        hold("journal", same, f"{key} is written with other bytes than before")

    def acknowledged(self, ref: SegmentRef) -> None:
        """An operator was told that its journal holds this segment: it holds it for ever."""
        found = segments(self.bucket.objects, KEYS.journal())
        read = chain(found)
        hold("journal", ref in read, f"{ref} was acknowledged and is not read by a new owner")
        known = read[: len(self.segments)] == self.segments
        hold("journal", known, f"what was acknowledged before {ref} is not read any more")
        for each in read[len(self.segments) : read.index(ref) + 1]:
            self._judge(found[each])
            self.segments.append(each)

    def restored(self) -> None:
        """The bucket was put back to an older state; whatever was promised of attempts stays."""
        found = segments(self.bucket.objects, KEYS.journal())
        self.segments = chain(found)
        self.state = RunState()
        for ref in self.segments:
            self.state = records.fold_all(self.state, found[ref])
        self.lives.append(_live(self.state))
        for uid in self.uids:
            if self.server.by_uid(uid) is None:
                self.fates.befalls(uid, torn=True)

    def _judge(self, segment: list[Record]) -> None:
        for record in segment:
            if record["type"] == "results":
                self._taken_in(record)
        old, self.state = self.state, records.fold_all(self.state, segment)
        self.retention.advanced(self.state, len(self.segments) + 1)
        self.lives.append(_live(self.state))
        self.advanced(old, self.state)

    def _taken_in(self, record: Record) -> None:
        """Each result once, in order, and only of the attempt that is current."""
        key = (record["trial"], record["attempt"])
        hold("P5", key not in self.settled, f"a result of {key}, which was over")
        for result in record["results"]:
            known = self.results.get(key, 0)
            hold("results", result["seq"] == known + 1, f"{key}: {result['seq']} after {known}")
            self.results[key] = result["seq"]

    def status_written(self, known: Object, status: Mapping[str, Any]) -> None:
        """Judge one status write that is about to land."""
        hold("own objects only", known["metadata"]["uid"] == UID, "a foreign status was written")
        live = status.get("live") or {}
        # The deletion of the object is its own record: it is acted upon before it is journaled.
        if not self.deleting:
            hold("journal first", live in self.lives, f"{live} is shown, never acknowledged")
            later = self.lives[self.told :]
            hold("status forward", live in later, f"the status goes back to {live}")
            self.told += later.index(live)
        terms = [(each.get("journal") or {}).get("term", 0) for each in (known["status"], status)]
        hold("status forward", terms[0] <= terms[1], f"term {terms[1]} after {terms[0]}")
        held = known["metadata"].get("finalizers", ())
        hold("finalizer first", constants.EXPERIMENT_FINALIZER in held or not live, f"{live} begun")
        self.shown |= {(name, int(entry.split("/")[0])) for name, entry in live.items()}
        best = (status.get("best") or {}).get("objectiveValue", 0.0)
        hold("P5", best < ZOMBIE, "a zombie's result became the best")

    def advanced(self, old: RunState, new: RunState) -> None:
        """Judge one step of the durable state."""
        hold("terminal", old.ended in (None, new.ended), "an ended run was revived")
        hold("memory", len(new.trials) >= len(old.trials), "a trial was forgotten")
        hold("P2", new.lost_iterations >= old.lost_iterations, "lost iterations were forgotten")
        hold("released", not (new.released and new.open_attempts), "released with open attempts")
        for trial in new.trials:
            known = old.trial(trial.name) or TrialState(trial.name)
            self._counted(known, trial)
            self._ended(known, trial)
            if known.open and (not trial.open or trial.attempt != known.attempt):
                self._settled(known, trial)
            if trial.attempt != known.attempt:
                self._begun(known, trial)
            self._current(known, trial)
            self._shown(trial)

    def _counted(self, old: TrialState, new: TrialState) -> None:
        def counts(trial: TrialState) -> list[int]:
            return [trial.failures, trial.disruptions, trial.infrastructure]

        steps = [b - a for a, b in zip(counts(old), counts(new), strict=True)]
        closes = old.open and (not new.open or new.attempt != old.attempt)
        hold("P2", min(steps) >= 0, f"trial {new.name} forgot an ending")
        hold("P2", sum(steps) <= closes, f"trial {new.name} attempt {old.attempt} counted again")
        spent = new.failures + new.disruptions
        hold("P2", spent <= self.max_failures + 1, f"trial {new.name} had {spent} counted attempts")

    def _ended(self, old: TrialState, new: TrialState) -> None:
        if old.finished:
            same = (new.phase, new.reason, new.attempt) == (old.phase, old.reason, old.attempt)
            hold("terminal", same and not new.open, f"trial {new.name} was revived")

    def _settled(self, old: TrialState, new: TrialState) -> None:
        key = (old.name, old.attempt)
        pod = self.server.by_uid(old.pod_uid or new.pod_uid)
        over = pod is None or project(pod).terminal or self._fenced(pod)
        done = self._completed(key)
        left = self.deleting and self._stop_is_over()
        hold("P3", over or done or left, f"attempt {key} was given up while its Pod runs")
        collected = key in {self.uids.get(uid) for uid in self.collected}
        spent = new.disruptions > old.disruptions
        hold("P7", not (collected and spent), f"{key} went with its experiment and was counted")
        hold("P6", new.reason != "NoValidCheckpoint", f"trial {new.name} lost its checkpoints")
        counted = _counter(old, new)
        allowed = self._fair(old, pod)
        hold("P2", counted in allowed, f"{key} counts as {counted}, not {sorted(allowed)}")
        self.settled.add(key)
        if not new.finished:
            self._resumable(new)

    def _fair(self, trial: TrialState, pod: Object | None) -> set[str]:
        """Where the end of its attempt may be counted, by what befell its Pod and who ended it."""
        done = {NOTHING} if self._completed((trial.name, trial.attempt)) else set()
        # What ended before its stop intent was recorded is settled by that intent as well.
        stopping = self.deleting or self.suspended or bool(self.state.stopped)
        by_us = done | ({NOTHING} if stopping else set())
        match trial.stop_intent:
            case StopIntent.NONE:
                lost = {DISRUPTION} if pod is not None and self._fenced(pod) else set()
                return by_us | lost | self._befallen(trial)
            case StopIntent.HUNG | StopIntent.START_ERROR:
                return done | {FAILURE}
            case _:
                return {NOTHING}

    def _befallen(self, trial: TrialState) -> set[str]:
        """One that was bound and settled in one breath may have had any Pod of its number."""
        key = (trial.name, trial.attempt)
        uids = [trial.pod_uid] if trial.pod_uid else [u for u, of in self.uids.items() if of == key]
        return set().union(*(self.fates.counts(uid, trial.streak) for uid in uids))

    def _stop_is_over(self) -> bool:
        """The time to stop has passed by the clock of whoever may look at it."""
        if self.experiment is None:
            return True
        since = instants.parse(self.experiment["metadata"]["deletionTimestamp"])
        return since is not None and since + STOP_BOUND <= self.server.clocks.latest

    def _fenced(self, pod: Object) -> bool:
        """It should have ended, and nobody could say whether it had."""
        meta = pod["metadata"]
        return "deletionTimestamp" in meta and meta["uid"] in self.lost_sight

    def _completed(self, key: Attempt) -> bool:
        data = self.bucket.objects.get(KEYS.trial(key[0]).exit_record(key[1]))
        return data is not None and ExitRecord.from_bytes(data).outcome is Outcome.COMPLETED

    def _resumable(self, trial: TrialState) -> None:
        honest = self.honest.get(trial.name, set())
        plan = trial.plan
        if not self.deleting:
            hold("P6", plan or not honest, f"trial {trial.name} forgot its checkpoints")
            newest = max(honest, default=CheckpointRef(0, 0))
            hold("P6", not plan or plan[0] >= newest, f"trial {trial.name} resumes too early")
        kept = self.retention.certain(plan)
        stored = self.retention.stored(trial.name)
        hold("P6", stored.issuperset(kept), f"trial {trial.name} resumes from nothing")
        hold("P6", len(plan) <= PLAN_LIMIT, "a plan without a limit")

    def _begun(self, old: TrialState, new: TrialState) -> None:
        key = (new.name, new.attempt)
        hold("attempts grow", new.attempt > old.attempt, f"attempt {key} after {old.attempt}")
        hold("attempts grow", key not in self.intents, f"attempt {key} was begun twice")
        hold("P4", new.name not in self.completed, f"trial {new.name} had completed")
        self.intents.add(key)

    def _current(self, old: TrialState, new: TrialState) -> None:
        if not new.open:
            return
        key = (new.name, new.attempt)
        if new.pod_uid:
            hold("P1", self.uids.get(new.pod_uid) == key, f"{key} bound to a stranger")
            first = self.bound.setdefault(key, new.pod_uid)
            hold("P1", first == new.pod_uid, f"{key} bound to {new.pod_uid} after {first}")
        if old.open and old.attempt == new.attempt:
            hold("P1", old.pod_uid in ("", new.pod_uid), f"{key} was unbound")
            kept = old.stop_intent in ("", new.stop_intent)
            hold("stop intent", kept, f"{key} lost its stop intent")

    def _shown(self, trial: TrialState) -> None:
        late = self.late.get(trial.name, set())
        hold("P5", not late & set(trial.plan), f"trial {trial.name} plans with a zombie's commit")
        shown = trial.checkpoint is None or trial.checkpoint.ref not in late
        hold("P5", shown, f"trial {trial.name} shows a zombie's commit")
        value = trial.objective or 0.0
        hold("P5", value < ZOMBIE, f"trial {trial.name} shows a zombie's result")

    # --- Pods and trainers --------------------------------------------------------------------

    def pod_created(self, body: Object) -> None:
        """An operator creates a Pod."""
        key = attempt_of(body)
        hold("intent first", key in self.intents, f"Pod of {key}")
        hold("status first", key in self.shown, f"Pod of {key}")

    def touched(self, obj: Object, what: str) -> None:
        """An operator deletes or patches an object, however late the request arrives."""
        meta = obj["metadata"]
        ours = meta["uid"] == UID or meta["uid"] in self.uids
        hold("own objects only", ours, f"{what} {meta['namespace']}/{meta['name']}")
        if obj.get("kind") != PODS.kind or self.experiment is None:
            return
        name, attempt = self.uids[meta["uid"]]
        trial = self.state.trial(name)
        current = trial is not None and trial.open and trial.attempt == attempt
        if trial is None or not current or trial.pod_uid not in ("", meta["uid"]):
            return
        if not self.deleting:
            hold("P8", trial.stop_intent, f"{what} the Pod of {name}/{attempt}, which is current")
        elif "patches" in what and not project(obj).terminal:
            late = self._stop_is_over()
            hold("P7", late, f"{what} the Pod of {name}/{attempt}, which may still save")

    def session_given(
        self, trial: str, attempt: int, uid: str, plan: tuple[CheckpointRef, ...]
    ) -> None:
        """A trainer was told to run."""
        known = self.bound.get((trial, attempt))
        hold("P1", known == uid, f"session of {trial}/{attempt} for {uid}, bound is {known}")
        earlier = {ref for ref in self.honest.get(trial, set()) if ref.attempt < attempt}
        hold("P6", plan or not earlier, f"trial {trial} starts from scratch")
        if (trial, attempt) not in self.settled:
            self.retention.told(trial, plan)

    def sent_away(self, trial: str, attempt: int, uid: str) -> None:
        """A trainer was told that its attempt is over."""
        known = self.state.trial(trial)
        if known is not None and known.open and self.server.by_uid(uid) is not None:
            current = (known.attempt, known.pod_uid) == (attempt, uid)
            hold("P8", not current, f"the trainer of {trial}/{attempt} was sent away")

    def durable(self, trial: str, attempt: int, seq: int) -> None:
        """A trainer was told that its results are safe up to here: it forgets them."""
        known = self.results.get((trial, attempt), 0)
        hold("results", seq <= known, f"{trial}/{attempt}: {seq} called durable, {known} are")

    def completed_by(self, trial: str, attempt: int) -> None:
        """An attempt that was not given up yet left its completion record, and its Pod saw it."""
        if (trial, attempt) not in self.settled:
            self.completed.add(trial)

    def committed(self, trial: str, ref: CheckpointRef, *, alive: bool) -> None:
        """A manifest is in the store. ``alive``: its Pod exists and has not ended."""
        if (trial, ref.attempt) in self.settled:
            self.late.setdefault(trial, set()).add(ref)
            return
        self.retention.committed(trial, ref)
        if alive:
            self.honest.setdefault(trial, set()).add(ref)


def _counter(old: TrialState, new: TrialState) -> str:
    if new.failures > old.failures:
        return FAILURE
    if new.disruptions > old.disruptions:
        return DISRUPTION
    return INFRASTRUCTURE if new.infrastructure > old.infrastructure else NOTHING


def _live(state: RunState) -> dict[str, str]:
    return {
        trial.name: f"{trial.attempt}/{trial.pod_uid}/{trial.stop_intent}"
        for trial in state.open_attempts
    }


def attempt_of(pod: Object) -> Attempt:
    """(trial, attempt) by the labels of a Pod."""
    labels = pod["metadata"]["labels"]
    return labels[constants.LABEL_TRIAL], int(labels[constants.LABEL_ATTEMPT])
