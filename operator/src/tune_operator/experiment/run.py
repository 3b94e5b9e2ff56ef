"""What this process remembers of an experiment between two looks.

Nothing here is needed after a crash: the durable state is in the journal, and everything else is
observed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tune_operator.experiment.accepted import Accepted
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.opening import Opening
from tune_operator.lifecycle import status
from tune_operator.lifecycle.actions import EmitEvent
from tune_operator.lifecycle.conditions import Finding
from tune_operator.lifecycle.observation import AttemptKey, Progress, Remains
from tune_operator.lifecycle.status import RunFacts
from tune_operator.lifecycle.trial_state import RunState
from tune_operator.store.location import Location
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import CheckpointRef, RunKeys

Key = tuple[str, str]
"""(namespace, name) of an experiment."""

PROGRESS_SECONDS = 1.0
"""Leading-edge throttle of status writes that carry nothing but progress."""


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(frozen=True)
class Asked:
    """An attempt that was asked for a checkpoint: at which iteration, and what it had by then.

    ``id`` is of this asking alone: a trainer takes the same one for a repetition.
    """

    id: str
    iteration: int
    had: CheckpointRef | None

    def done(self, newest: CheckpointRef | None) -> bool:
        """Whether the attempt's own newest checkpoint is a new one, or as new as can be."""
        return newest is not None and (newest != self.had or newest.iteration >= self.iteration)


@dataclass(frozen=True)
class Taken:
    """The name of an attempt's Pod is somebody else's; until when (monotonic) it is not tried."""

    message: str
    until: float


@dataclass
class Run:
    """One experiment. It is held, and its state known for certain, while ``journal`` is open.

    ``undurable`` is how many bytes the results in ``progress`` came in. ``ready_since``
    is since when reports can come in. ``written`` is when journal or status last was, in monotonic
    seconds. ``asked_to_save`` are attempts whose node is about to go; ``heard`` is when one last
    reported; ``untold`` are events to be told once the status was written, ``told`` the verdicts
    that were told. ``failing``: looks in a row of which an action failed. ``tried``: whether this
    process knows how a create ended. ``namespace_ends``: since when the namespace is known to be
    deleted; ``asked_about`` are the deleted Pods of which we asked why they are. ``unanswered``:
    dry runs in a row without an answer, ``ask_after`` is when the next one may be made, in
    monotonic seconds. ``remains`` is what we know of the store beside the journal. ``at_rest``
    is set while no look is under way.
    """

    key: Key
    uid: str
    obj: Mapping[str, Any]
    accepted: Accepted | None = None
    acceptance: Finding = field(default_factory=Finding)
    asked: float = float("-inf")
    storage: Finding = field(default_factory=Finding)
    store_after: float = float("-inf")
    store: ObjectStore | None = None
    opening: Opening | None = None
    open_after: float = float("-inf")
    journal: Journal | None = None
    ready_since: datetime | None = None
    progress: dict[str, Progress] = field(default_factory=dict)
    undurable: int = 0
    asked_to_save: dict[AttemptKey, Asked] = field(default_factory=dict)
    heard: dict[AttemptKey, datetime] = field(default_factory=dict)
    silent_since: dict[AttemptKey, datetime] = field(default_factory=dict)
    untold: list[EmitEvent] = field(default_factory=list)
    asked_about: frozenset[str] = frozenset()
    namespace_ends: datetime | None = None
    unanswered: int = 0
    ask_after: float = float("-inf")
    told: dict[AttemptKey, tuple[int, str]] = field(default_factory=dict)
    taken: dict[AttemptKey, Taken] = field(default_factory=dict)
    quota: str = ""
    create_after: float = 0.0
    failing: int = 0
    tried: bool = False
    written: float = float("-inf")
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    remains: Remains = Remains.ALL
    at_rest: asyncio.Event = field(default_factory=_set)

    async def rested(self) -> None:
        """Until the look that is under way, if one is, has ended: what it read and decided is
        journaled then, or never will be."""
        await self.at_rest.wait()

    @property
    def name_conflict(self) -> str:
        """What people are told of names that are taken: of the first, in order of trials."""
        return self.taken[min(self.taken)].message if self.taken else ""

    @property
    def durable(self) -> RunState:
        """The state as journaled; as far as the status tells while the journal is not open."""
        if self.journal is not None:
            return self.journal.state
        return status.read(self.obj.get("status") or {})

    def refresh(self, obj: Mapping[str, Any]) -> None:
        """Take in a newer version of the object."""
        self.obj = obj

    def advance(self) -> None:
        """The journal moved on: forget what was about attempts that are over, wake who waits.

        Progress behind the journal is another owner's past: with it we would wait for ever for
        results that the trainer knows to be taken.
        """
        state = self.durable
        current = {(trial.name, trial.attempt): trial for trial in state.open_attempts}
        self.progress = {
            name: news.journaled(current[name, news.attempt].seq)
            for name, news in self.progress.items()
            if (name, news.attempt) in current and news.seq >= current[name, news.attempt].seq
        }
        self.undurable = sum(r.weight for news in self.progress.values() for r in news.results)
        self.asked_to_save = {k: asked for k, asked in self.asked_to_save.items() if k in current}
        self.heard = {key: at for key, at in self.heard.items() if key in current}
        self.taken = {key: taken for key, taken in self.taken.items() if key in current}
        self.told = {key: row for key, row in self.told.items() if key in current}
        self.silent_since = {key: at for key, at in self.silent_since.items() if key in current}
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    @property
    def unopened(self) -> bool:
        """Nobody ever opened it: nothing of it is in the store."""
        return self.journal is None and status.term(self.obj.get("status") or {}) == 0

    def forget(self) -> None:
        """The run is another's: what was neither journaled nor told of it never happened."""
        self.journal = self.opening = None
        self.progress, self.undurable = {}, 0
        self.asked_to_save, self.untold = {}, []

    def progress_wait(self, now: float) -> float:
        """Seconds from ``now`` (monotonic) until mere progress may be written; may be negative."""
        return self.written + PROGRESS_SECONDS - now

    @property
    def keys(self) -> RunKeys:
        """Where the run lies in its bucket. The run's identity is the object's UID."""
        namespace, name = self.key
        return RunKeys.of(self.location.prefix, namespace, name, self.uid)

    @property
    def location(self) -> Location:
        """The bucket and prefix of the specification, which are immutable."""
        return Location.parse(self.obj["spec"]["storage"]["uri"])

    @property
    def uri(self) -> str:
        """Where the run lies."""
        return f"s3://{self.location.bucket}/{self.keys.root}"

    @property
    def facts(self) -> RunFacts:
        """What the status shows beside the state."""
        term = self.journal.term if self.journal else status.term(self.obj.get("status") or {})
        return RunFacts(self.uid, term, self.uri, self.location.bucket, self.keys)
