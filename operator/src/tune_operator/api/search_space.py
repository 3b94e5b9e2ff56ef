"""Dimensions of a search space: one model per distribution, named as in Ray Tune.

Bounds are those of Ray Tune 2.60: ``lower`` is included; ``upper`` is excluded for integers with
q = 1, the plain ones among them, and included for all other quantised values.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model, OneOf, Rule, rules
from tune_operator.api.scalars import (
    AnyValue,
    Integer,
    LogInteger,
    LogNumber,
    Number,
    PositiveInteger,
    PositiveNumber,
)

MAX_VALUES: Final = 1000
"""Entries of one ``choice`` or ``gridSearch``."""


def _above_lower(upper: float, info: ValidationInfo) -> float:
    lower = info.data.get("lower")  # absent when it was invalid itself
    if lower is not None and not lower < upper:
        raise PydanticCustomError(
            "range",
            "must be greater than lower ({lower}): swap the bounds or widen the range",
            {"lower": lower},
        )
    return upper


def _divides_bounds(q: float, info: ValidationInfo) -> float:
    """As in Ray, both bounds of a quantised float are multiples of ``q``."""
    for name in ("lower", "upper"):
        bound = info.data.get(name)
        if bound is not None and not _is_multiple(bound, q):
            raise PydanticCustomError(
                "quantum",
                "{name} ({bound}) is not a multiple of q ({q}): change one of them",
                {"name": name, "bound": bound, "q": q},
            )
    return q


def _is_multiple(bound: float, q: float) -> bool:
    steps = bound / q  # infinite where q is far too small
    return math.isfinite(steps) and math.isclose(steps, round(steps))


def _fits_between(q: int, info: ValidationInfo) -> int:
    lower, upper = info.data.get("lower"), info.data.get("upper")
    if lower is not None and upper is not None and upper // q < -(-lower // q):
        raise PydanticCustomError(
            "quantum",
            "no multiple of q ({q}) lies between lower ({lower}) and upper ({upper}): "
            "take a smaller q",
            {"q": q, "lower": lower, "upper": upper},
        )
    return q


_LOG = "> 0, because the scale is logarithmic"
_ORDERED: Final = rules(
    Rule(
        "type(self.lower) == string || type(self.upper) == string || self.lower < self.upper",
        "upper must be greater than lower: swap the bounds or widen the range",
        ".upper",
    )
)


class FloatRange(Model):
    """Floats between two bounds."""

    lower: Number = Field(description="Smallest value, included.")
    upper: Annotated[Number, AfterValidator(_above_lower)] = Field(
        description="Largest value; greater than lower."
    )


class QuantisedFloatRange(FloatRange):
    """Multiples of q between two bounds."""

    q: Annotated[PositiveNumber, AfterValidator(_divides_bounds)] = Field(
        description="Values are multiples of q, both bounds included; q must divide both bounds."
    )


class LogFloatRange(Model):
    """Floats between two positive bounds, uniform in their logarithm."""

    lower: LogNumber = Field(description=f"Smallest value, included; {_LOG}.")
    upper: Annotated[LogNumber, AfterValidator(_above_lower)] = Field(
        description="Largest value; greater than lower."
    )


class QuantisedLogFloatRange(LogFloatRange):
    """Multiples of q between two positive bounds, uniform in their logarithm before rounding."""

    q: Annotated[PositiveNumber, AfterValidator(_divides_bounds)] = Field(
        description="Values are multiples of q, both bounds included; q must divide both bounds."
    )


class IntegerRange(Model, json_schema_extra=_ORDERED):
    """Integers from lower up to, not including, upper."""

    lower: Integer = Field(description="Smallest value, included.")
    upper: Annotated[Integer, AfterValidator(_above_lower)] = Field(
        description="Upper bound, excluded; greater than lower."
    )


class QuantisedIntegerRange(Model, json_schema_extra=_ORDERED):
    """Multiples of q between two integers, both included unless q is 1."""

    lower: Integer = Field(description="Smallest value, included if it is a multiple of q.")
    upper: Annotated[Integer, AfterValidator(_above_lower)] = Field(
        description="Largest value, included if it is a multiple of q and q is not 1."
    )
    q: Annotated[PositiveInteger, AfterValidator(_fits_between)] = Field(
        default=1, description="Values are multiples of q. Default 1, which excludes upper."
    )


class LogIntegerRange(Model, json_schema_extra=_ORDERED):
    """Positive integers from lower up to, not including, upper, uniform in their logarithm."""

    lower: LogInteger = Field(description=f"Smallest value, included; {_LOG}.")
    upper: Annotated[LogInteger, AfterValidator(_above_lower)] = Field(
        description="Upper bound, excluded; greater than lower."
    )


class QuantisedLogIntegerRange(Model, json_schema_extra=_ORDERED):
    """Multiples of q between two positive integers, uniform in their logarithm before rounding."""

    lower: LogInteger = Field(description=f"Smallest value; {_LOG}.")
    upper: Annotated[LogInteger, AfterValidator(_above_lower)] = Field(
        description="Largest value, included if it is a multiple of q and q is not 1."
    )
    q: Annotated[PositiveInteger, AfterValidator(_fits_between)] = Field(
        description="Values are multiples of q."
    )


class Normal(Model):
    """Normally distributed floats."""

    mean: Number = Field(default=0.0, description="Mean. Default 0.")
    sd: PositiveNumber = Field(default=1.0, description="Standard deviation, > 0. Default 1.")


class QuantisedNormal(Model):
    """Normally distributed floats, rounded to multiples of q."""

    mean: Number = Field(default=0.0, description="Mean. Default 0.")
    sd: PositiveNumber = Field(default=1.0, description="Standard deviation, > 0. Default 1.")
    q: PositiveNumber = Field(description="Values are multiples of q.")


Values = Annotated[list[AnyValue], Field(min_length=1, max_length=MAX_VALUES)]
Distribution = (
    FloatRange
    | QuantisedFloatRange
    | LogFloatRange
    | QuantisedLogFloatRange
    | IntegerRange
    | QuantisedIntegerRange
    | LogIntegerRange
    | QuantisedLogIntegerRange
    | Normal
    | QuantisedNormal
)


class Dimension(OneOf):
    """One parameter: exactly one distribution, list of values, or constant."""

    untyped = frozenset({"choice", "gridSearch", "constant"})

    uniform: FloatRange | None = Field(default=None, description="Floats, uniform.")
    quniform: QuantisedFloatRange | None = Field(
        default=None, description="Multiples of q, uniform."
    )
    loguniform: LogFloatRange | None = Field(
        default=None, description="Floats, uniform in their logarithm."
    )
    qloguniform: QuantisedLogFloatRange | None = Field(
        default=None, description="Multiples of q, uniform in their logarithm."
    )
    randint: IntegerRange | None = Field(
        default=None, description="Integers, uniform; upper is excluded."
    )
    qrandint: QuantisedIntegerRange | None = Field(
        default=None, description="Multiples of q, uniform; upper is included unless q is 1."
    )
    lograndint: LogIntegerRange | None = Field(
        default=None, description="Integers, uniform in their logarithm; upper is excluded."
    )
    qlograndint: QuantisedLogIntegerRange | None = Field(
        default=None,
        description="Multiples of q, uniform in their logarithm; upper is included unless q is 1.",
    )
    choice: Values | None = Field(default=None, description="One of these values, at random.")
    randn: Normal | None = Field(default=None, description="Floats, normally distributed.")
    qrandn: QuantisedNormal | None = Field(
        default=None, description="Multiples of q, normally distributed."
    )
    grid_search: Values | None = Field(
        default=None,
        description="Every one of these values; the grid's axes multiply numSamples.",
    )
    constant: AnyValue = Field(default=None, description="This value in every trial.")

    def _is_given(self, name: str) -> bool:
        return name == "constant" or super()._is_given(name)

    @property
    def chosen(self) -> Distribution | JsonValue:
        """What was written under ``kind``."""
        value: Distribution | JsonValue = getattr(self, self.kind)
        return value
