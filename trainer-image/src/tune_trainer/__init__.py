"""The SDK of a trial: a ``Trainable``, or a function that calls ``report``.

``python -m tune_trainer module:name`` runs either in the Pod of a trial.

Attributes load on first use, so that ``import tune_trainer`` and ``import tune_trainer.protocol``
(which the operator does) pull in neither the store's client nor anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_trainer.checkpoint.reference import Checkpoint
    from tune_trainer.context import TuneContext, get_context
    from tune_trainer.function import TrialStopped, get_checkpoint, report
    from tune_trainer.preemption import detect_instance_preemption
    from tune_trainer.result import SHOULD_CHECKPOINT
    from tune_trainer.trainable import Trainable

__all__ = [
    "SHOULD_CHECKPOINT",
    "Checkpoint",
    "Trainable",
    "TrialStopped",
    "TuneContext",
    "detect_instance_preemption",
    "get_checkpoint",
    "get_context",
    "report",
]

__version__ = "0.1.0"

_HOMES = {
    "SHOULD_CHECKPOINT": "tune_trainer.result",
    "Checkpoint": "tune_trainer.checkpoint.reference",
    "Trainable": "tune_trainer.trainable",
    "TrialStopped": "tune_trainer.function",
    "TuneContext": "tune_trainer.context",
    "detect_instance_preemption": "tune_trainer.preemption",
    "get_checkpoint": "tune_trainer.function",
    "get_context": "tune_trainer.context",
    "report": "tune_trainer.function",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES and name != "result":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "result":  # the module with the names of fields, as in Ray Tune
        return import_module("tune_trainer.result")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
