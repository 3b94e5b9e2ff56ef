"""The ``failure`` section: what a trial that does not reach its end may cost."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model, Rule, rules

MAX_RULES: Final = 20
MAX_EXIT_CODES: Final = 64

_DAY: Final = 86400
_MILLION: Final = 10**6

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


class Disruptions(Model):
    """What preemption, eviction and the loss of a node cost a trial."""

    policy: Literal["Count", "Ignore"] = Field(
        default="Count",
        description="Count: a disruption uses up one of maxFailures. Ignore: it does not, and max "
        "bounds them apart. Default Count.",
    )
    max: Annotated[int, Field(ge=0, le=_MILLION)] = Field(
        default=20,
        description="Disruptions of one trial before it is Errored, under policy Ignore. "
        "Default 20.",
    )


class OnExitCodes(Model):
    """Exit codes of the trainer, as in a Job's podFailurePolicy."""

    operator: Literal["In", "NotIn"] = Field(
        description="In: the rule matches the codes of values. NotIn: it matches all others."
    )
    values: Annotated[
        list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=1, max_length=MAX_EXIT_CODES)
    ] = Field(description="Exit codes, 0-255; 0 is no failure, so it makes sense in NotIn only.")


class FailureRule(Model):
    """What to do when a trainer fails with one of these exit codes."""

    action: Literal["FailTrial", "FailExperiment", "Ignore", "Count"] = Field(
        description="FailTrial: the trial is Errored at once. FailExperiment: so is it, and the "
        "others are stopped. Ignore: try again without counting. Count: an ordinary failure."
    )
    on_exit_codes: OnExitCodes = Field(description="Which exit codes it is about.")


class NodeLost(Model):
    """What to do about a Pod whose node does not answer any more."""

    timeout_seconds: Annotated[int, Field(ge=1, le=_DAY)] = Field(
        default=60,
        description="Seconds a node may be unreachable before its Pods are given up; the default "
        "of their tolerations of such a node, too. Default 60.",
    )
    policy: Literal["Fence", "Wait"] = Field(
        default="Fence",
        description="Fence: a new attempt starts elsewhere, and what the old one still reports or "
        "saves is refused. Wait: until the Pod is known to have ended. Default Fence.",
    )


class Failure(Model):
    """What a trial that does not reach its end may cost."""

    max_failures: Annotated[int, Field(ge=-1, le=_MILLION)] = Field(
        default=3,
        description="Failures and disruptions of one trial before it is Errored: N retries are "
        "N+1 attempts. -1 is unlimited. Default 3.",
    )
    disruptions: Disruptions = Field(
        default=Disruptions(), description="What a preempted or lost Pod costs."
    )
    max_failed_trials: Annotated[int, Field(ge=-1, le=_MILLION)] = Field(
        default=-1,
        description="Errored trials that the experiment bears; with one more it fails. "
        "-1 is unlimited. Default -1.",
    )
    fail_fast: bool = Field(
        default=False,
        description="Whether the experiment fails as soon as any trial is Errored, as with "
        "maxFailedTrials 0. Default false.",
    )
    backoff: Backoff = Field(default=Backoff(), description="Wait between attempts.")
    rules: Annotated[list[FailureRule], Field(max_length=MAX_RULES)] = Field(
        default=[],
        description="What to do about single exit codes. A code may be matched by one rule only; "
        "one that none matches is an ordinary failure.",
    )
    node_lost: NodeLost = Field(
        default=NodeLost(), description="What to do when a node does not answer any more."
    )
    start_timeout_seconds: Annotated[int, Field(ge=1, le=_DAY)] = Field(
        default=600,
        description="Seconds a scheduled Pod may take to start its trainer (image, mounts, init "
        "containers) before the attempt fails. Default 600.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=0, le=7 * _DAY)] = Field(
        default=0,
        description="Seconds a trainer may go without a report before the attempt is stopped and "
        "counted as a failure; 0 is off. Default 0.",
    )
