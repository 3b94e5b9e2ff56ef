"""The promises, held against everything that is ever written (DESIGN 2).

The history is told of every write as it happens and remembers enough to judge the next one. A
broken promise raises Broken, which names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tune_operator.lifecycle import status as status_of
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef

if TYPE_CHECKING:
    from tests.model.cluster import Cluster

MAX_FAILURES = 2
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

    ``honest`` are commits of attempts whose Pod existed and had not ended, ``late`` those made
    after the attempt was settled; ``completed`` trials with an honest completion record.
    """

    uids: dict[str, Attempt] = field(default_factory=dict)
    intents: set[Attempt] = field(default_factory=set)
    bound: dict[Attempt, str] = field(default_factory=dict)
    settled: set[Attempt] = field(default_factory=set)
    honest: dict[str, set[CheckpointRef]] = field(default_factory=dict)
    late: dict[str, set[CheckpointRef]] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)

    # --- status -------------------------------------------------------------------------------

    def status_written(
        self, cluster: Cluster, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """Judge one status write that is about to land."""
        old, new = status_of.read(before), status_of.read(after)
        hold("terminal", old.ended in (None, new.ended), "an ended run was revived")
        hold("memory", len(new.trials) >= len(old.trials), "a trial was forgotten")
        for trial in new.trials:
            known = old.trial(trial.name) or TrialState(trial.name)
            self._counted(known, trial)
            self._ended(known, trial)
            if known.open and (not trial.open or trial.attempt != known.attempt):
                self._settled(cluster, known, trial)
            if trial.attempt != known.attempt:
                self._begun(known, trial)
            self._current(known, trial)
            self._shown(trial)
        best = (after.get("best") or {}).get("objectiveValue", 0.0)
        hold("P5", best < ZOMBIE, "a zombie's result became the best")

    def _counted(self, old: TrialState, new: TrialState) -> None:
        def counts(trial: TrialState) -> list[int]:
            return [trial.failures, trial.disruptions, trial.infrastructure]

        steps = [b - a for a, b in zip(counts(old), counts(new), strict=True)]
        closes = old.open and (not new.open or new.attempt != old.attempt)
        hold("P2", min(steps) >= 0, f"trial {new.name} forgot an ending")
        hold("P2", sum(steps) <= closes, f"trial {new.name} attempt {old.attempt} counted again")
        spent = new.failures + new.disruptions
        hold("P2", spent <= MAX_FAILURES + 1, f"trial {new.name} had {spent} counted attempts")

    def _ended(self, old: TrialState, new: TrialState) -> None:
        if old.finished:
            same = (new.phase, new.reason, new.attempt) == (old.phase, old.reason, old.attempt)
            hold("terminal", same and not new.open, f"trial {new.name} was revived")

    def _settled(self, cluster: Cluster, old: TrialState, new: TrialState) -> None:
        key = (old.name, old.attempt)
        record = cluster.store.exits.get(key)
        pod = cluster.by_uid(old.pod_uid or new.pod_uid)
        deleting = cluster.experiment is not None and cluster.experiment.deleted is not None
        done = record is not None and record.outcome is Outcome.COMPLETED
        over = pod is None or pod.view.terminal
        hold("P3", over or done or deleting, f"attempt {key} was given up while its Pod runs")
        hold("P6", new.reason != "NoValidCheckpoint", f"trial {new.name} lost its checkpoints")
        self.settled.add(key)
        if not new.finished:
            self._resumable(cluster, new)

    def _resumable(self, cluster: Cluster, trial: TrialState) -> None:
        honest = self.honest.get(trial.name, set())
        plan = trial.plan
        if cluster.experiment is None or cluster.experiment.deleted is None:
            hold("P6", plan or not honest, f"trial {trial.name} forgot its checkpoints")
            newest = max(honest, default=CheckpointRef(0, 0))
            hold("P6", not plan or plan[0] >= newest, f"trial {trial.name} resumes too early")
        stored = set(cluster.store.manifests.get(trial.name, []))
        hold("P6", stored.issuperset(plan), f"trial {trial.name} resumes from nothing")
        hold("P6", len(plan) <= 4, "a plan of more than four")

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

    def pod_created(self, trial: str, attempt: int) -> None:
        """An operator creates a Pod."""
        hold("intent first", (trial, attempt) in self.intents, f"Pod of {trial}/{attempt}")

    def pod_removed(self, cluster: Cluster, uid: str) -> None:
        """An operator deletes a Pod or lets it go."""
        if cluster.experiment is None or cluster.experiment.deleted:
            return
        state: RunState = status_of.read(cluster.experiment.status)
        name, attempt = self.uids[uid]
        trial = state.trial(name)
        current = trial is not None and trial.open and trial.attempt == attempt
        if trial is not None and current and trial.pod_uid in ("", uid):
            hold("P8", trial.stop_intent, f"the Pod of {name}/{attempt} was removed")

    def session_given(self, trial: str, attempt: int, uid: str, plan: object) -> None:
        """A trainer was told to run."""
        known = self.bound.get((trial, attempt))
        hold("P1", known == uid, f"session of {trial}/{attempt} for {uid}, bound is {known}")
        earlier = {ref for ref in self.honest.get(trial, set()) if ref.attempt < attempt}
        hold("P6", plan or not earlier, f"trial {trial} starts from scratch")

    def completed_by(self, trial: str, attempt: int) -> None:
        """An attempt that was not given up yet left its completion record, and its Pod saw it."""
        if (trial, attempt) not in self.settled:
            self.completed.add(trial)

    def committed(self, trial: str, ref: CheckpointRef, *, alive: bool) -> None:
        """A manifest is in the store. ``alive``: its Pod exists and has not ended."""
        if (trial, ref.attempt) in self.settled:
            self.late.setdefault(trial, set()).add(ref)
        elif alive:
            self.honest.setdefault(trial, set()).add(ref)
