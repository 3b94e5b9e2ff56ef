"""Scalars with more than one spelling: numbers that may be strings, quantities, names.

YAML writers turn ``1e-4`` into the string "1e-4", so wherever a search space or a criterion takes a
number it also takes its text. A structural schema has no such union; those fields are untyped in
the CRD, with a pattern that the API server applies to the text form.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema
from pydantic_core import PydanticCustomError

UNTYPED: Final = "x-kubernetes-preserve-unknown-fields"

NUMBER_PATTERN: Final = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
QUANTITY_PATTERN: Final = (
    r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]+)?$"
)
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
ENTRYPOINT_PATTERN: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
VARIABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
METRIC_PATTERN: Final = r"^[^\s/]+(/[^\s/]+)*$"
STORE_URI_PATTERN: Final = (
    r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_][A-Za-z0-9_.=-]*)*/?$"
)
ENDPOINT_PATTERN: Final = r"^https?://[A-Za-z0-9\[][A-Za-z0-9.:\]-]*/?$"
REGION_PATTERN: Final = r"^[a-z0-9-]+$"

PATTERN_HINTS: Final = {
    NUMBER_PATTERN: "a number such as 0.1 or 1e-4",
    QUANTITY_PATTERN: "a quantity such as 500m, 2 or 1Gi",
    NAME_PATTERN: "the name of an object: lower case letters, digits, '-' and '.'",
    ENTRYPOINT_PATTERN: "module:name, such as digits:Digits",
    VARIABLE_PATTERN: "the name of an environment variable: letters, digits, '_', '.' and '-'",
    METRIC_PATTERN: "a key of a result; nested keys are joined by '/', without spaces",
    STORE_URI_PATTERN: "s3://bucket or s3://bucket/prefix",
    ENDPOINT_PATTERN: "http://host:port or https://host:port, without a path",
    REGION_PATTERN: "a region such as us-east-1",
}
"""What a value should look like, for the message when it does not match."""

_MAX_EXACT_INTEGER = 2**53
"""Larger integers lose digits on their way through JSON tools."""


def _number(value: Any) -> int | float:
    """The number that ``value`` is or spells. Booleans, NaN and infinities are no numbers."""
    if isinstance(value, str) and re.fullmatch(NUMBER_PATTERN, value):
        value = float(value) if re.search(r"[.eE]", value) else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("number", "must be a number such as 0.1 or 1e-4")
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("finite", "must be finite, not NaN or infinity")
    return value


def _float(value: Any) -> float:
    number = _number(value)
    try:
        return float(number)
    except OverflowError:
        raise PydanticCustomError("finite", "is too large for a 64-bit float") from None


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise PydanticCustomError("integer", "must be an integer, without a fraction")
    if abs(number) > _MAX_EXACT_INTEGER:
        raise PydanticCustomError("integer", "must lie between -2^53 and 2^53")
    return int(number)


def _positive(value: float) -> float:
    if value <= 0:
        raise PydanticCustomError("positive", "must be > 0")
    return value


def _on_log_scale(value: float) -> float:
    if value <= 0:
        raise PydanticCustomError("positive", "must be > 0 (log scale)")
    return value


def _quantity(value: Any) -> int | float | str:
    if isinstance(value, str) and re.fullmatch(QUANTITY_PATTERN, value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        hint = PATTERN_HINTS[QUANTITY_PATTERN]
        raise PydanticCustomError("quantity", "must be {hint}", {"hint": hint})
    return value


_NUMBER_SCHEMA: Final = WithJsonSchema({UNTYPED: True, "pattern": NUMBER_PATTERN, "maxLength": 64})

Number = Annotated[float, BeforeValidator(_float), _NUMBER_SCHEMA]
"""A finite number, also as text."""

LogNumber = Annotated[float, BeforeValidator(_float), AfterValidator(_on_log_scale), _NUMBER_SCHEMA]
"""A bound on a logarithmic scale."""

PositiveNumber = Annotated[
    float, BeforeValidator(_float), AfterValidator(_positive), _NUMBER_SCHEMA
]

_INTEGER_SCHEMA: Final = WithJsonSchema(
    {"x-kubernetes-int-or-string": True, "pattern": NUMBER_PATTERN, "maxLength": 64}
)

Integer = Annotated[int, BeforeValidator(_integer), _INTEGER_SCHEMA]
"""A whole number, also as text ("1e4")."""

LogInteger = Annotated[
    int, BeforeValidator(_integer), AfterValidator(_on_log_scale), _INTEGER_SCHEMA
]
"""A whole bound on a logarithmic scale."""

PositiveInteger = Annotated[
    int, BeforeValidator(_integer), AfterValidator(_positive), _INTEGER_SCHEMA
]

Quantity = Annotated[
    int | float | str,
    BeforeValidator(_quantity),
    WithJsonSchema({UNTYPED: True, "pattern": QUANTITY_PATTERN, "maxLength": 64}),
]
"""An amount of a resource, kept as it was written."""

AnyValue = Annotated[JsonValue, WithJsonSchema({UNTYPED: True, "nullable": True})]
"""Any JSON value, null too: CEL refuses to compare a null that the schema does not allow."""

Raw = Annotated[dict[str, Any], WithJsonSchema({"type": "object", UNTYPED: True})]
"""An object kept as it came, whatever its fields."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]
"""Name of another object in the experiment's namespace."""
