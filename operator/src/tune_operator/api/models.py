"""The specification of a TuneExperiment: what a user writes under ``spec``."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model, OneOf, Rule, immutable, immutable_but, rules
from tune_operator.api.failure import Failure
from tune_operator.api.scalars import METRIC_PATTERN, Number
from tune_operator.api.search import Search
from tune_operator.api.storage import Storage
from tune_operator.api.trainer import Template, Trainer

Metric = Annotated[str, Field(min_length=1, max_length=253, pattern=METRIC_PATTERN)]

_DAY: Final = 86400

MAX_KEPT_PODS: Final = 200
"""Fewer than the rows of a status: after the end it alone says whose Pods stay."""


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


class Keep(Model):
    """Which checkpoints of a trial stay in the store."""

    latest: Annotated[int, Field(ge=2, le=100)] = Field(
        default=2,
        description="Newest checkpoints of each trial that stay: one alone might turn out to be "
        "damaged. Default 2.",
    )
    best: Annotated[int, Field(ge=0, le=100)] = Field(
        default=1,
        description="Checkpoints of each trial with the best scoreAttribute that stay as well. "
        "Default 1.",
    )


class CheckpointPolicy(Model):
    """When trials save, and what stays of it."""

    frequency: Annotated[int, Field(ge=0, le=10**9)] = Field(
        default=0, description="Iterations between two checkpoints; 0 is off. Default 0."
    )
    max_lost_seconds: Annotated[int, Field(ge=0, le=30 * _DAY)] = Field(
        default=0,
        description="At most about so many seconds of training are lost with a Pod: the trainer "
        "chooses when to save, from how long its iterations and its saves take; beside or instead "
        "of frequency. 0 is off. Default 0.",
    )
    at_end: bool = Field(default=False, description="Whether to save at a trial's end.")
    on_preemption: bool = Field(
        default=True,
        description="Whether a trainer saves when it learns of its end, from a signal (also that "
        "of a suspension or deletion) or from the notice of a cloud's metadata server, whatever "
        "the frequency. Default true.",
    )
    keep: Keep = Field(
        default=Keep(),
        description="Checkpoints that stay in the store beside those that a trial may yet resume "
        "from; all others are deleted.",
    )
    score_attribute: Metric | None = Field(
        default=None,
        description="Key of a result that makes a checkpoint better than another. Default "
        "objective.metric. Immutable.",
    )
    score_order: Literal["min", "max"] | None = Field(
        default=None,
        description="Whether lower or higher is better. Default objective.mode. Immutable.",
    )


class Cleanup(Model):
    """What of a run stays in the cluster. The TuneExperiment itself is never deleted."""

    pod_ttl_seconds: Annotated[int, Field(ge=0, le=30 * _DAY)] = Field(
        default=0,
        alias="podTTLSeconds",
        description="Seconds a Pod stays after its attempt has ended; 0 removes it at once. "
        "Default 0.",
    )
    keep_errored_pods: Annotated[int, Field(ge=0, le=MAX_KEPT_PODS)] = Field(
        default=10,
        description="Pods of Errored trials that stay for their logs, the newest ones. Default 10.",
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
        *immutable_but("checkpoint", CheckpointPolicy, "keep"),
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
        default=CheckpointPolicy(),
        description="When trials save, and what stays of it. Immutable but for keep.",
    )
    storage: Storage = Field(description="Where checkpoints go. Immutable.")
    failure: Failure = Field(
        default=Failure(), description="What a trial that does not reach its end may cost."
    )
    suspend: bool = Field(
        default=False,
        description="Whether the trials are to save and stop; they go on from there when it is "
        "false again. Default false.",
    )
    cleanup: Cleanup = Field(default=Cleanup(), description="What stays of a run in the cluster.")
    stop_grace_period_seconds: Annotated[int, Field(ge=11, le=_DAY)] = Field(
        default=120,
        description="Seconds a trial has to save when the experiment is deleted or suspended; its "
        "Pod gets 10 less. Default 120.",
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
