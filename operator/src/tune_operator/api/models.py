"""The specification of a TuneExperiment: what a user writes under ``spec``."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model, OneOf, Rule, immutable, rules
from tune_operator.api.scalars import METRIC_PATTERN, Number
from tune_operator.api.search import Search
from tune_operator.api.storage import Storage
from tune_operator.api.trainer import Template, Trainer

Metric = Annotated[str, Field(min_length=1, max_length=253, pattern=METRIC_PATTERN)]

_DAY: Final = 86400


class Objective(Model):
    """What makes a trial better than another."""

    metric: Metric = Field(description="Key of a result; nested keys are joined by '/'.")
    mode: Literal["min", "max"] = Field(description="Whether lower or higher is better.")


class Fifo(Model):
    """Trials run in order, each to its own end."""


class Scheduler(OneOf):
    """Exactly one scheduler."""

    fifo: Fifo | None = Field(default=None, description="In order, without early stopping.")


def _keyed_by_metric(criteria: dict[str, float]) -> dict[str, float]:
    for key in criteria:
        if not 1 <= len(key) <= 253:
            raise PydanticCustomError("key", "a criterion is a key of a result, 1-253 characters")
    return criteria


class Stop(Model):
    """When a trial has reached its end."""

    criteria: Annotated[
        dict[str, Number],
        Field(max_length=32),
        AfterValidator(_keyed_by_metric),
    ] = Field(
        default={},
        description="Bounds by key of a result, such as training_iteration: 30. A trial stops at "
        "the first result in which any of them is reached (value >= bound).",
    )


class CheckpointPolicy(Model):
    """When trials save."""

    frequency: Annotated[int, Field(ge=0, le=10**9)] = Field(
        default=0, description="Iterations between two checkpoints; 0 is off. Default 0."
    )
    at_end: bool = Field(default=False, description="Whether to save at a trial's end.")


_BACKOFF_ORDER: Final = "maxSeconds must be at least initialSeconds: raise it or lower the other"


class Backoff(
    Model,
    json_schema_extra=rules(
        Rule(
            "(has(self.initialSeconds) ? self.initialSeconds : 1) <= "
            "(has(self.maxSeconds) ? self.maxSeconds : 300)",
            _BACKOFF_ORDER,
            ".maxSeconds",
        )
    ),
):
    """Wait before the n-th attempt in a row without a new checkpoint: initial · 2^(n-1)."""

    initial_seconds: Annotated[int, Field(ge=0, le=_DAY)] = Field(
        default=1, description="First wait, in seconds. Default 1."
    )
    max_seconds: Annotated[int, Field(ge=0, le=_DAY)] = Field(
        default=300, description="Longest wait, in seconds. Default 300."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Backoff:
        if self.max_seconds < self.initial_seconds:
            raise PydanticCustomError("range", "{help}", {"help": _BACKOFF_ORDER})
        return self


class Failure(Model):
    """What a failing trial may cost."""

    max_failures: Annotated[int, Field(ge=-1, le=10**6)] = Field(
        default=3,
        description="Failures and disruptions of one trial before it is Errored: N retries are "
        "N+1 attempts. -1 is unlimited. Default 3.",
    )
    backoff: Backoff = Field(default=Backoff(), description="Wait between attempts.")
    start_timeout_seconds: Annotated[int, Field(ge=1, le=_DAY)] = Field(
        default=600,
        description="Seconds a scheduled Pod may take to start its trainer (image, mounts, init "
        "containers) before the attempt fails. Default 600.",
    )


_ONE_SOURCE: Final = "set exactly one of trainer and template"


class TuneExperimentSpec(
    Model,
    json_schema_extra=rules(
        Rule("has(self.trainer) != has(self.template)", _ONE_SOURCE),
        immutable("objective", required=True),
        immutable("search", required=True),
        immutable("scheduler", required=False),
        immutable("stop", required=False),
        immutable("checkpoint", required=False),
        immutable("storage", required=True),
    ),
):
    """A hyperparameter experiment."""

    objective: Objective = Field(description="What makes a trial better. Immutable.")
    num_samples: Annotated[int, Field(ge=1, le=10**6)] = Field(
        default=1,
        description="Random samples; the grid's axes multiply it. Default 1.",
    )
    max_concurrent_trials: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=4, description="Trials that run at a time. Default 4."
    )
    search: Search = Field(description="Parameters and how they are searched. Immutable.")
    scheduler: Scheduler = Field(
        default=Scheduler(fifo=Fifo()),
        description="Which trials run and for how long. Default fifo. Immutable.",
    )
    stop: Stop = Field(
        default=Stop(),
        description="When a trial has reached its end; without it, when the trainable says so. "
        "Immutable.",
    )
    checkpoint: CheckpointPolicy = Field(
        default=CheckpointPolicy(), description="When trials save. Immutable."
    )
    storage: Storage = Field(description="Where checkpoints go. Immutable.")
    failure: Failure = Field(default=Failure(), description="What a failing trial may cost.")
    stop_grace_period_seconds: Annotated[int, Field(ge=11, le=_DAY)] = Field(
        default=120,
        description="Seconds a trial has to save when the experiment is deleted; its Pod gets 10 "
        "less. Default 120.",
    )
    trainer: Trainer | None = Field(
        default=None,
        description="What runs a trial, the short form; a change applies to later attempts. "
        "Exactly one of trainer and template.",
    )
    template: Template | None = Field(
        default=None,
        description="A Pod template whose container named trainer runs a trial; a change applies "
        "to later attempts. Exactly one of trainer and template.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> TuneExperimentSpec:
        if (self.trainer is None) == (self.template is None):
            raise PydanticCustomError("one_of", "{help}", {"help": _ONE_SOURCE})
        return self
