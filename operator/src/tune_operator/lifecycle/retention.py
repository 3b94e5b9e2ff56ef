"""Retention: which checkpoints of a trial stay, and what of it is garbage (DESIGN 6).

Decided from what a LIST showed and from the state of that time: it has to know every attempt that
was settled or fenced before the LIST, or a zombie's manifests in it would count. Whatever happens
after it, what was garbage then is never needed again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tune_operator.api.models import TuneExperimentSpec
from tune_operator.lifecycle.objective import rank
from tune_operator.lifecycle.trial_state import NO_VALID_CHECKPOINT, TrialState
from tune_trainer.protocol.keys import CheckpointRef, DataRef


@dataclass(frozen=True)
class Keep:
    """How many stay of each trial, and what makes one better than another."""

    latest: int
    best: int
    metric: str
    mode: str

    @classmethod
    def of(cls, spec: TuneExperimentSpec) -> Keep:
        """What the specification says, with the objective where it says nothing."""
        policy, objective = spec.checkpoint, spec.objective
        return cls(
            policy.keep.latest,
            policy.keep.best,
            policy.score_attribute or objective.metric,
            policy.score_order or objective.mode,
        )


@dataclass(frozen=True)
class Lineage:
    """What the journal says of a trial's checkpoints.

    ``open``: the newest attempt may still commit. ``finished``: no attempt follows. ``pins`` stay
    whatever else is said: what the status names, and what others point at.
    """

    attempt: int
    open: bool
    finished: bool
    plan: tuple[CheckpointRef, ...]
    pins: frozenset[CheckpointRef]

    @classmethod
    def of(cls, trial: TrialState, pins: Iterable[CheckpointRef] = ()) -> Lineage | None:
        """None where nothing may be deleted, because nobody knows what belongs to the trial.

        That is so where all checkpoints seem to be lost, which is for people to look at, and for
        an end that was recorded without its plan.
        """
        lost = trial.reason == NO_VALID_CHECKPOINT
        unknown = trial.checkpoint is not None and not trial.plan and not trial.open
        if trial.attempt == 0 or lost or unknown:
            return None
        shown = [trial.checkpoint.ref] if trial.checkpoint else []
        return cls(
            attempt=trial.attempt,
            open=trial.open,
            finished=trial.finished,
            plan=trial.plan,
            pins=frozenset([*shown, *pins]),
        )

    def unheard_of(self, attempt: int) -> bool:
        """Somebody else began it: we are outdated, and it is none of our business."""
        return attempt > self.attempt

    def settled(self, attempt: int) -> bool:
        """Whether all the attempt could commit is known: it was settled or fenced."""
        return attempt < self.attempt or (attempt == self.attempt and not self.open)

    def holds(self, ref: CheckpointRef) -> bool:
        """Whether it exists for resume: of the open attempt, or of the plan that was made when its
        attempt was settled. Any other was committed by a zombie (P5)."""
        return ref in self.plan or (self.open and ref.attempt == self.attempt)


def surplus(
    lineage: Lineage, scores: Mapping[CheckpointRef, float | None],
    unreadable: Collection[CheckpointRef], keep: Keep,
) -> tuple[CheckpointRef, ...]:  # fmt: skip
    """Of all manifests that a LIST showed those to delete, in order.

    ``scores`` are the readable ones. Of the others nobody knows whether a newer version can read
    them: they stay, and count for nothing.
    """
    members = [ref for ref in scores if lineage.holds(ref)]
    by_score = sorted(members, key=lambda ref: (rank(scores[ref], keep.mode), ref), reverse=True)
    kept = {
        *lineage.pins,
        *filter(lineage.holds, unreadable),
        *sorted(members, reverse=True)[: keep.latest],
        *by_score[: keep.best],
        *(lineage.plan if _needs_plan(lineage, members) else ()),
    }
    listed = {*scores, *unreadable}
    return tuple(sorted(ref for ref in listed - kept if not lineage.unheard_of(ref.attempt)))


def _needs_plan(lineage: Lineage, members: Collection[CheckpointRef]) -> bool:
    """Whether an attempt restores from the plan, or will: it commits only after it has restored."""
    if lineage.finished:
        return False
    return not lineage.open or all(ref.attempt != lineage.attempt for ref in members)


def orphans(
    lineage: Lineage, data: Iterable[DataRef], named: Collection[DataRef] | None,
    dropped: Collection[DataRef],
) -> frozenset[DataRef]:  # fmt: skip
    """Data of the trial that no manifest of the run names and none will: its attempt was settled or
    fenced before the LIST, or its manifest was deleted (``dropped``). The rest may be an upload
    that is under way.

    ``named`` is what manifests of all trials name, as clones name the data of others. None: some of
    them cannot be read, and may name any.
    """
    if named is None:
        return frozenset()
    return frozenset(
        folder
        for folder in data
        if folder not in named
        and (folder in dropped or lineage.settled(folder.ref.attempt))
        and not lineage.unheard_of(folder.ref.attempt)
    )


def union(named: Iterable[Collection[DataRef] | None]) -> frozenset[DataRef] | None:
    """What manifests of several trials name; None if that of one is not known."""
    found: set[DataRef] = set()
    for some in named:
        if some is None:
            return None
        found.update(some)
    return frozenset(found)
