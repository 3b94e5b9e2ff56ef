"""What really happened to each attempt, as its trainer and those who struck it know.

The oracle compares it with what the operator says. Keyed by the Pod's UID: a second Pod of one
attempt must not hide behind the first.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.faults import Cost, TrialFault
from tune_trainer.protocol.keys import CheckpointRef


@dataclass
class Attempt:
    """One Pod."""

    trial: str
    number: int
    uid: str
    pod: str
    node: str = ""
    plan: tuple[CheckpointRef, ...] | None = None
    """From its session; None: it never got one."""
    opened: float = 0.0
    acknowledged: int = 0
    """Iteration of the newest checkpoint whose report was answered."""
    sent: int = 0
    """Sequence of the newest result that it made."""
    durable: int = 0
    recorded: int = 0
    """Results that an exit record of its own is sure to have brought: all up to here."""
    completed: bool = False
    fault: TrialFault | None = None
    ended: float = 0.0
    refused: int = 0
    """Reports answered with 401 after it had its session."""
    forged: list[CheckpointRef] = field(default_factory=list)
    """Checkpoints it committed after it knew that it had been replaced."""

    @property
    def bound(self) -> bool:
        """Whether the operator ever took it for the attempt's Pod."""
        return self.plan is not None

    def __str__(self) -> str:
        return f"{self.trial} attempt {self.number} ({self.uid[:8]})"


class Ledger:
    """All attempts, and what should never have happened, in the words of those who met it."""

    def __init__(self) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.strange: list[str] = []
        self.struck: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def note(self, text: str) -> None:
        """Something that no fault explains."""
        self.strange.append(f"{time.strftime('%H:%M:%S')} {text}")

    def of(self, trial: str) -> list[Attempt]:
        """The attempts of a trial that had a session, in their order."""
        bound = [one for one in self.attempts.values() if one.trial == trial and one.bound]
        return sorted(bound, key=lambda one: one.number)

    def costs(self, trial: str) -> Counter[Cost]:
        """What the trial's counters must say."""
        return Counter(one.fault.cost for one in self.of(trial) if one.fault)

    def replaced(self, attempt: Attempt) -> bool:
        """Whether a later attempt of its trial was ever there."""
        return any(
            one.trial == attempt.trial and one.number > attempt.number
            for one in self.attempts.values()
        )

    def ends(self, trial: str) -> int:
        """How many of its attempts were cut short."""
        return sum(1 for one in self.of(trial) if one.fault and one.fault.ends)
