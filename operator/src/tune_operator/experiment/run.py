"""What this process remembers of an experiment between two looks.

Nothing here is needed after a crash: the durable state is in the status, and everything else is
observed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tune_operator.experiment.accepted import Accepted
from tune_operator.experiment.claim import Claim
from tune_operator.lifecycle import status
from tune_operator.lifecycle.conditions import Finding
from tune_operator.lifecycle.observation import AttemptKey, Progress
from tune_operator.lifecycle.status import RunFacts
from tune_operator.lifecycle.trial_state import RunState
from tune_operator.store.location import Location
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import RunKeys

Key = tuple[str, str]
"""(namespace, name) of an experiment."""

PROGRESS_SECONDS = 1.0
"""Leading-edge throttle of status writes that carry nothing but progress."""


@dataclass
class Run:
    """One experiment. ``claimed`` is set once the claim of this process landed."""

    key: Key
    uid: str
    obj: Mapping[str, Any]
    durable: RunState = field(default_factory=RunState)
    accepted: Accepted | None = None
    acceptance: Finding = field(default_factory=Finding)
    asked: float = float("-inf")
    storage: Finding = field(default_factory=Finding)
    store_after: float = float("-inf")
    store: ObjectStore | None = None
    claim: Claim | None = None
    claimed: bool = False
    progress: dict[str, Progress] = field(default_factory=dict)
    silent_since: dict[AttemptKey, datetime] = field(default_factory=dict)
    name_conflict: str = ""
    quota: str = ""
    create_after: float = 0.0
    written: float = float("-inf")
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def refresh(self, obj: Mapping[str, Any]) -> None:
        """Take in a newer version of the object; its status is the durable state."""
        self.obj = obj
        self.durable = status.read(obj.get("status") or {})
        for name in list(self.progress):
            trial = self.durable.trial(name)
            if trial is None or not trial.open or trial.attempt != self.progress[name].attempt:
                del self.progress[name]
        self.silent_since = {
            (name, attempt): since
            for (name, attempt), since in self.silent_since.items()
            if (trial := self.durable.trial(name)) and trial.open and trial.attempt == attempt
        }
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

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
    def facts(self) -> RunFacts | None:
        """What the status shows beside the state, once accepted."""
        if self.accepted is None:
            return None
        keys, bucket = self.keys, self.location.bucket
        uri = f"s3://{bucket}/{keys.root}"
        return RunFacts(uri, bucket, keys, self.accepted.searcher.config)
