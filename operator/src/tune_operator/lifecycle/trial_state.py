"""The durable state of trials and of their run: what a restarted operator must know again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tune_trainer.protocol.keys import CheckpointRef

NO_VALID_CHECKPOINT = "NoValidCheckpoint"
"""Reason of a trial that had a checkpoint and has none any more: it never starts from scratch."""

EXPERIMENT_STOPPED = "ExperimentStopped"
"""Reason of a trial that ended because its whole run was ended; it can be resumed later."""


class Phase(StrEnum):
    """States of a trial (DESIGN 5.1)."""

    PENDING = "Pending"
    RUNNING = "Running"
    TERMINATED = "Terminated"
    ERRORED = "Errored"


class StopIntent(StrEnum):
    """Why an attempt is being ended by us; recorded before its Pod is touched."""

    NONE = ""
    DELETE = "delete"
    SUSPEND = "suspend"
    STOP = "stop"
    HUNG = "hung"
    START_ERROR = "startError"


@dataclass(frozen=True)
class Checkpoint:
    """The newest committed checkpoint known of a trial."""

    ref: CheckpointRef
    time: datetime


@dataclass(frozen=True)
class Avoided:
    """A node the trial's next attempts had rather not run on, until this moment."""

    node: str
    until: datetime


@dataclass(frozen=True)
class Interruption:
    """How an attempt ended that did not end its trial."""

    cls: str
    reason: str
    message: str
    row: int
    attempt: int
    iteration: int
    time: datetime
    exit_code: int | None = None
    node: str = ""


@dataclass(frozen=True)
class TrialState:
    """One trial. ``attempt`` is the highest number ever given out; ``open`` says it is current.

    ``streak`` counts consecutive endings without a new committed checkpoint; ``seq`` is the
    sequence of the last result taken in from the current attempt.
    """

    name: str
    phase: Phase = Phase.PENDING
    reason: str = ""
    attempt: int = 0
    open: bool = False
    pod_uid: str = ""
    stop_intent: StopIntent = StopIntent.NONE
    node: str = ""
    iteration: int = 0
    objective: float | None = None
    seq: int = 0
    checkpoint: Checkpoint | None = None
    plan: tuple[CheckpointRef, ...] = ()
    failures: int = 0
    disruptions: int = 0
    infrastructure: int = 0
    streak: int = 0
    interruption: Interruption | None = None
    avoid: tuple[Avoided, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def index(self) -> int:
        """Position in the order of suggestions."""
        return int(self.name)

    def avoided(self, now: datetime) -> tuple[str, ...]:
        """Nodes the next attempt had rather not run on, the latest last."""
        return tuple(each.node for each in self.avoid if each.until > now)

    @property
    def finished(self) -> bool:
        """Terminal states are irrevocable."""
        return self.phase in (Phase.TERMINATED, Phase.ERRORED)

    def without_progress(self) -> TrialState:
        """What is left when only progress is ignored; a difference here is a lifecycle change."""
        return replace(self, iteration=0, objective=None, seq=0, checkpoint=None)


@dataclass(frozen=True)
class RunState:
    """All trials that ever started, in order, and the sums that outlive them.

    ``generation`` is that of the specification in force, ``specification`` that one as the object
    held it; only the journal has it. ``stopped`` says why the whole run is being ended, if it is.
    ``released``: every attempt is settled or fenced and its owner let go.
    """

    trials: tuple[TrialState, ...] = ()
    lost_iterations: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    generation: int = 0
    specification: Mapping[str, Any] | None = None
    stopped: str = ""
    stopped_message: str = ""
    released: bool = False

    def trial(self, name: str) -> TrialState | None:
        """The trial of this name, if it ever started."""
        index = int(name) if name.isdecimal() else -1
        return self.trials[index] if 0 <= index < len(self.trials) else None

    def size(self, total: int) -> int:
        """Trials of the run, when the specification says ``total``: none that started is taken
        back by a lower numSamples, and none is added after the end. A run that was stopped leaves
        some that never started.
        """
        complete = self.ended is not None and not self.stopped
        return len(self.trials) if complete else max(total, len(self.trials))

    @property
    def open_attempts(self) -> tuple[TrialState, ...]:
        """Trials whose current attempt has not been settled."""
        return tuple(trial for trial in self.trials if trial.open)
