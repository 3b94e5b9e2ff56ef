"""Schedulers: which trials run, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_operator.api.scheduler import KnownScheduler
from tune_operator.tuning.schedulers.asha import Asha
from tune_operator.tuning.schedulers.base import Decision, Scheduler
from tune_operator.tuning.schedulers.fifo import Fifo

__all__ = ["Decision", "Scheduler", "build"]


def build(
    spec: Mapping[str, Any], *, metric: str, mode: str, strict: bool = True, seed: int = 0
) -> Scheduler:
    """The scheduler of a ``scheduler`` section; raises pydantic's ValidationError.

    ``mode`` is max or min. ``strict`` is that of the objective; ``seed`` deals trials to brackets.
    """
    section = KnownScheduler.model_validate(spec)
    if section.asha is None:
        return Fifo()
    return Asha(section.asha, metric=metric, mode=mode, strict=strict, seed=seed)
