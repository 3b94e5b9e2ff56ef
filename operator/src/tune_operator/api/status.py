"""The status of a TuneExperiment. The operator is its only writer; every field is optional.

Every list, string and map is bounded, so that the whole stays below 256 KiB at any number of
trials.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, WithJsonSchema

from tune_operator.api.base import Model
from tune_operator.api.scalars import Raw

MAX_LISTED_TRIALS: Final = 256
MAX_LIVE: Final = 1001
MAX_LIVE_ENTRY: Final = 96
MAX_RANGES: Final = 16384

_REASON_PATTERN: Final = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""UTC, RFC 3339."""

Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(max_length=1024)]
Word = Annotated[str, Field(max_length=253)]
NullableNumber = Annotated[float | None, WithJsonSchema({"type": "number", "nullable": True})]
"""Null where the value is not finite, which its text form says."""


class Condition(Model):
    """A metav1.Condition."""

    type: Annotated[str, Field(max_length=316)] = Field(description="What it is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: Count | None = Field(
        default=None, description="metadata.generation it was made from."
    )
    last_transition_time: Time = Field(description="When status last changed.")
    reason: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ] = Field(description="Why, in one word.")
    message: Annotated[str, Field(max_length=32768)] = Field(description="Why, for people.")


class StorageStatus(Model):
    """Where the run is stored."""

    uri: Text | None = Field(default=None, description="The run's root.")


class Journal(Model):
    """The journal of the run."""

    term: Count | None = Field(default=None, description="Number of the opening that owns the run.")


class Counts(Model):
    """Trials by state."""

    total: Count | None = Field(default=None, description="All trials of the experiment.")
    pending: Count | None = Field(default=None, description="Waiting to start or start again.")
    running: Count | None = Field(default=None, description="With a Pod.")
    paused: Count | None = Field(default=None, description="Held by the scheduler.")
    terminated: Count | None = Field(default=None, description="At their end.")
    errored: Count | None = Field(default=None, description="Given up.")


class TrialCheckpoint(Model):
    """The newest committed checkpoint of a trial."""

    iteration: Count = Field(description="Iteration it was taken after.")
    attempt: Count = Field(description="Attempt that committed it.")
    time: Time | None = Field(default=None, description="When it was committed.")


class Interruption(Model):
    """How an attempt ended other than by completing."""

    class_: Word = Field(alias="class", description="Class, such as preempted, failed or lost.")
    reason: Word | None = Field(default=None, description="Reason in one word.")
    exit_code: int | None = Field(default=None, description="Exit code of the trainer.")
    message: Text | None = Field(default=None, description="Last words of the trainer.")
    row: Count | None = Field(default=None, description="Row of the decision table.")
    node: Word | None = Field(default=None, description="Node the attempt ran on.")
    attempt: Count | None = Field(default=None, description="Which attempt it was.")
    iteration: Count | None = Field(default=None, description="Last iteration it reported.")
    time: Time | None = Field(default=None, description="When it was seen.")


class TrialStatus(Model):
    """One trial."""

    name: Word = Field(description="Name, such as 00003.")
    state: Word = Field(description="Pending, Running, Paused, Terminated or Errored.")
    reason: Word | None = Field(default=None, description="Why it is in that state.")
    params: Raw | None = Field(default=None, description="Its configuration.")
    truncated: bool | None = Field(default=None, description="Whether params were cut.")
    attempt: Count | None = Field(default=None, description="Current or last attempt.")
    node: Word | None = Field(default=None, description="Node it runs on.")
    iteration: Count | None = Field(default=None, description="Newest iteration reported.")
    objective_value: NullableNumber = Field(
        default=None, description="Newest value of the objective; null if not finite."
    )
    objective_value_text: Word | None = Field(
        default=None, description="NaN, Infinity or -Infinity where the value is null."
    )
    checkpoint: TrialCheckpoint | None = Field(default=None, description="Newest checkpoint.")
    failures: Count | None = Field(default=None, description="Attempts that failed.")
    disruptions: Count | None = Field(default=None, description="Attempts that were disrupted.")
    infrastructure: Count | None = Field(
        default=None, description="Attempts the infrastructure rejected; not counted."
    )
    start_time: Time | None = Field(default=None, description="When its first attempt started.")
    completion_time: Time | None = Field(default=None, description="When it reached its end.")
    last_interruption: Interruption | None = Field(
        default=None, description="How the last attempt that was cut short ended."
    )


class Finished(Model):
    """Trials that are no longer listed, as ranges such as 0-2,5-16."""

    terminated: Annotated[str, Field(max_length=MAX_RANGES)] | None = Field(
        default=None, description="Terminated ones."
    )
    errored: Annotated[str, Field(max_length=MAX_RANGES)] | None = Field(
        default=None, description="Errored ones."
    )


class BestCheckpoint(Model):
    """A checkpoint of the best trial, with its place."""

    uri: Text | None = Field(default=None, description="Where its files lie.")
    iteration: Count | None = Field(default=None, description="Iteration it was taken after.")
    attempt: Count | None = Field(default=None, description="Attempt that committed it.")
    time: Time | None = Field(default=None, description="When it was committed.")


class Best(Model):
    """The best trial so far."""

    trial: Word | None = Field(default=None, description="Its name.")
    objective_value: NullableNumber = Field(default=None, description="Its objective.")
    iteration: Count | None = Field(default=None, description="Iteration of that value.")
    config: Raw | None = Field(default=None, description="Its configuration.")
    truncated: bool | None = Field(default=None, description="Whether config was cut.")
    checkpoint: BestCheckpoint | None = Field(default=None, description="Its newest checkpoint.")


class TuneExperimentStatus(Model):
    """What the operator says about the experiment."""

    observed_generation: Count | None = Field(
        default=None, description="metadata.generation this status was made from."
    )
    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=32,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            ),
        ]
        | None
    ) = Field(default=None, description="State in machine-readable form.")
    run_id: Word | None = Field(
        default=None, alias="runID", description="Identity of the run in the store."
    )
    storage: StorageStatus | None = Field(default=None, description="Where the run is stored.")
    journal: Journal | None = Field(default=None, description="Who owns the run.")
    start_time: Time | None = Field(default=None, description="When the experiment started.")
    completion_time: Time | None = Field(default=None, description="When it reached its end.")
    counts: Counts | None = Field(default=None, description="Trials by state.")
    failures: Count | None = Field(default=None, description="Failed attempts of all trials.")
    disruptions: Count | None = Field(default=None, description="Disrupted attempts of all trials.")
    infrastructure: Count | None = Field(
        default=None,
        description="Attempts of all trials that the infrastructure rejected; not counted.",
    )
    lost_iterations: Count | None = Field(
        default=None, description="Iterations that were run again after an interruption."
    )
    state: Word | None = Field(default=None, description="State in one word.")
    done: Word | None = Field(default=None, description="Finished trials, such as 16/20.")
    live: (
        Annotated[
            dict[str, Annotated[str, Field(max_length=MAX_LIVE_ENTRY)]], Field(max_length=MAX_LIVE)
        ]
        | None
    ) = Field(
        default=None,
        description="Attempts in progress by trial: <attempt>/<UID of the Pod>/<stop intent>.",
    )
    trials: Annotated[list[TrialStatus], Field(max_length=MAX_LISTED_TRIALS)] | None = Field(
        default=None,
        description="Trials: all while they fit, then the running ones, the best, last errors.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    finished: Finished | None = Field(default=None, description="Trials no longer listed.")
    best: Best | None = Field(default=None, description="The best trial so far.")
