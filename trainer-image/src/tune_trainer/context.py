"""What the user's code may ask about its trial, without its author passing it around."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tune_trainer.progress import Progress

if TYPE_CHECKING:
    from tune_trainer.checkpoint.reference import Checkpoint


@dataclass(frozen=True)
class TrialContext:
    """The trial that the next Trainable belongs to; outside the runner the one Ray also names.

    ``stored`` makes the reference to this attempt's checkpoint of an iteration.
    """

    trial_id: str = "default"
    progress: Progress = field(default_factory=Progress)
    stored: Callable[[int], Checkpoint] | None = None


current: ContextVar[TrialContext | None] = ContextVar("tune_trainer.context", default=None)
"""Set by the runner around the construction of the Trainable."""


@dataclass(frozen=True)
class Facts:
    """What ``TuneContext`` tells; ``wanted`` says whether somebody wants a checkpoint now."""

    experiment: str = "default"
    trial: str = "default"
    attempt: int = 1
    config: dict[str, Any] = field(default_factory=dict)
    wanted: Callable[[], bool] = lambda: False


_facts = Facts()


def enter(facts: Facts) -> None:
    """Make these the facts of this process."""
    global _facts  # noqa: PLW0603 - a process runs one trial
    _facts = facts


class TuneContext:
    """The trial this process runs, with Ray Tune's names; outside of one, a trial "default"."""

    def get_experiment_name(self) -> str:
        """Name of the TuneExperiment."""
        return _facts.experiment

    def get_trial_id(self) -> str:
        """Name of the trial, such as ``"00003"``."""
        return _facts.trial

    def get_trial_name(self) -> str:
        """The same as ``get_trial_id``: a trial has one name here."""
        return _facts.trial

    def get_attempt(self) -> int:
        """Which life of the trial this is, from 1."""
        return _facts.attempt

    def get_config(self) -> dict[str, Any]:
        """The configuration of the trial."""
        return _facts.config

    def should_checkpoint(self) -> bool:
        """Whether somebody wants a checkpoint now: the operator, or a signal that ends this Pod.

        Ask once per iteration, before its report, and report a checkpoint when it is true.
        """
        return _facts.wanted()


_context = TuneContext()


def get_context() -> TuneContext:
    """The context of this process; it may be asked for at any time, and kept."""
    return _context
