"""Acceptance: what can be said about a specification before the first Pod.

The API server checked schema and CEL; here is what neither can see: search spaces as a whole, the
number of trials, names that collide as environment variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from tune_operator.api import errors
from tune_operator.api.constants import EXPERIMENT_FINALIZER
from tune_operator.api.models import TuneExperimentSpec
from tune_operator.api.storage import Storage
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.conditions import Finding
from tune_operator.lifecycle.observation import Experiment
from tune_operator.lifecycle.trial_state import RunState
from tune_operator.store.errors import BadLocation
from tune_operator.store.location import Location
from tune_operator.tuning import schedulers, search
from tune_operator.tuning.engine import Engine
from tune_operator.tuning.errors import SearchSpaceError
from tune_trainer.protocol import environment

TRIALS_LIMIT = 10_000
"""Trials of one experiment that are held in memory; names have room for ten times as many."""


class Refused(Exception):
    """The specification cannot run; ``finding`` says why, for condition Accepted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(ok=False, reason=reason, message=message)


@dataclass(frozen=True)
class Accepted:
    """A specification that can run, with what decides about its trials.

    ``raw`` is the specification as the object held it.
    """

    experiment: Experiment
    raw: Mapping[str, Any]
    searcher: search.Searcher
    engine: Engine

    @property
    def total(self) -> int:
        """Trials of the experiment."""
        return self.searcher.total


def parse(obj: Mapping[str, Any], known: Experiment | None = None) -> Experiment:
    """The object as we understand it; ``known`` is the same object as it was understood before.

    Raises Refused naming every wrong field.
    """
    same = known is not None and known.in_force == obj["metadata"].get("generation", 0)
    spec = known.spec if known is not None and same else _validated(obj.get("spec") or {})
    return _experiment(obj, spec)


def kept(obj: Mapping[str, Any], known: Experiment) -> Experiment:
    """The object as it is now, with a specification that was accepted before its own was refused.

    Whether it is deleted, and what holds it, is of now.
    """
    return replace(_experiment(obj, known.spec), accepted_generation=known.in_force)


def storage_of(obj: Mapping[str, Any]) -> Storage:
    """Where the run lies, whatever else is wrong with the specification. Raises Refused."""
    try:
        return Storage.model_validate((obj.get("spec") or {}).get("storage"))
    except ValidationError as error:
        raise Refused("InvalidSpec", errors.describe(error)) from None


def recorded(obj: Mapping[str, Any], state: RunState) -> Accepted | None:
    """The object as it is now, with the specification that its journal says is in force.

    Raises Refused, as for one that an older version has accepted.
    """
    if state.specification is None:
        return None
    # Which store, and with whose keys, the object says itself: who writes into the bucket may not.
    raw = {**state.specification, "storage": obj["spec"]["storage"]}
    experiment = _experiment(obj, _validated(raw))
    return accept(replace(experiment, accepted_generation=state.generation), raw)


def has_finalizer(obj: Mapping[str, Any]) -> bool:
    """Whether ours holds the object, whatever its specification says."""
    return EXPERIMENT_FINALIZER in (obj["metadata"].get("finalizers") or [])


def _experiment(obj: Mapping[str, Any], spec: TuneExperimentSpec) -> Experiment:
    meta = obj["metadata"]
    return Experiment(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        deleted=instants.parse(meta.get("deletionTimestamp")),
        has_finalizer=has_finalizer(obj),
        spec=spec,
        labels=meta.get("labels") or {},
    )


def _validated(raw_spec: Mapping[str, Any]) -> TuneExperimentSpec:
    try:
        return TuneExperimentSpec.model_validate(raw_spec)
    except ValidationError as error:
        raise Refused("InvalidSpec", errors.describe(error)) from None


def accept(experiment: Experiment, raw_spec: Mapping[str, Any]) -> Accepted:
    """Build what the specification asks for. Raises Refused."""
    objective = experiment.spec.objective
    try:
        Location.parse(experiment.spec.storage.uri)
    except BadLocation as error:
        raise Refused("InvalidSpec", f"spec.{error.message}") from None
    try:
        searcher = search.build(
            dict(raw_spec["search"]),
            num_samples=experiment.spec.num_samples,
            metric=objective.metric,
            mode=objective.mode,
            seed=seed_of(experiment),
        )
    except SearchSpaceError as error:
        raise Refused("InvalidSearchSpace", f"spec.search.{error}") from None
    if searcher.total > TRIALS_LIMIT:
        raise Refused(
            "TooManyTrials",
            f"spec.numSamples and the grid make {searcher.total} trials; at most {TRIALS_LIMIT} "
            "are supported: lower numSamples or split the experiment",
        )
    clash = environment.collisions(environment.flatten(searcher.config(0)))
    if clash:
        first, second = clash[0]
        raise Refused(
            "ParameterCollision",
            f"spec.search.space: {first!r} and {second!r} would share the variable "
            f"{environment.param_variable(first)}: rename one",
        )
    section = experiment.spec.scheduler.model_dump(by_alias=True, exclude_none=True)
    scheduler = schedulers.build(section, metric=objective.metric, mode=objective.mode)
    return Accepted(experiment, raw_spec, searcher, Engine(searcher, scheduler))


def seed_of(experiment: Experiment) -> int:
    """The seed given, else one of this object's own that survives restarts."""
    given = experiment.spec.search.seed
    return int(experiment.uid.replace("-", ""), 16) if given is None else given
