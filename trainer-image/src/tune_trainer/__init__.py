"""The SDK of a trial: subclass ``Trainable``, and ``python -m tune_trainer module:Class`` runs it.

Attributes load on first use, so that ``import tune_trainer`` and ``import tune_trainer.protocol``
(which the operator does) pull in neither the store's client nor anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_trainer.preemption import detect_instance_preemption
    from tune_trainer.result import SHOULD_CHECKPOINT
    from tune_trainer.trainable import Trainable

__all__ = ["SHOULD_CHECKPOINT", "Trainable", "detect_instance_preemption"]

__version__ = "0.1.0"

_HOMES = {
    "SHOULD_CHECKPOINT": "tune_trainer.result",
    "Trainable": "tune_trainer.trainable",
    "detect_instance_preemption": "tune_trainer.preemption",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
