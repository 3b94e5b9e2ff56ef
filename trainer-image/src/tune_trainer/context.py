"""What a Trainable knows about its trial without its author passing it through ``__init__``."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from tune_trainer.progress import Progress


@dataclass(frozen=True)
class TrialContext:
    """The trial that the next Trainable belongs to; outside the runner the one Ray also names."""

    trial_id: str = "default"
    progress: Progress = field(default_factory=Progress)


current: ContextVar[TrialContext | None] = ContextVar("tune_trainer.context", default=None)
"""Set by the runner around the construction of the Trainable."""
