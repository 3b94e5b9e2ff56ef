"""Schedulers that tuning knows. The object's schema offers only those the operator acts on."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model
from tune_operator.api.models import Scheduler
from tune_operator.api.scalars import Number, PositiveNumber

_TimeAttr = Annotated[str, Field(min_length=1, max_length=253)]


class Asha(Model):
    """Asynchronous successive halving, with the defaults of Ray Tune's ASHAScheduler."""

    time_attr: _TimeAttr = Field(
        default="training_iteration", description="Key of a result that measures time."
    )
    max_t: PositiveNumber = Field(default=100, description="A trial stops at this time.")
    grace_period: PositiveNumber = Field(default=1, description="No trial stops before this time.")
    reduction_factor: Number = Field(default=4, description="One in this many goes on at a rung.")
    brackets: int = Field(default=1, ge=1, le=32, description="Each starts a rung later.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.grace_period > self.max_t:
            raise PydanticCustomError("grace_period", "gracePeriod must be <= maxT")
        if self.reduction_factor <= 1:
            raise PydanticCustomError("reduction_factor", "reductionFactor must be > 1")
        return self


class KnownScheduler(Scheduler):
    """Exactly one scheduler, of those offered and of those to come."""

    asha: Asha | None = Field(default=None, description="Asynchronous successive halving.")
