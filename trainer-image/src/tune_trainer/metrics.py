"""Results as data: JSON types, a bounded size, the objective, the stop criteria.

Pure functions. Nested keys are named with "/", as Ray Tune flattens them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, TypeGuard

from tune_trainer.errors import AttemptFailed
from tune_trainer.protocol.environment import flatten
from tune_trainer.protocol.exit_record import Reason
from tune_trainer.protocol.numbers import DEPTH_LIMIT

TEXT_LIMIT = 256
"""Characters kept of a value that has no JSON form and is told as text."""

LARGE = 2**53

DEEPEST = DEPTH_LIMIT - 10
"""Levels of a result; what lies deeper is told as text, for messages around it have levels too."""


def plain(value: Any, around: tuple[int, ...] = ()) -> Any:
    """The value as JSON types: NumPy scalars and arrays by value, anything unknown as its text.

    So is what is nested too deeply, or in itself. ``around`` are the IDs of what contains it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if type(value) is float or (type(value) is int and -LARGE < value < LARGE):
        return value  # nearly all are such
    if len(around) > DEEPEST or id(value) in around:
        return _text(value)
    inner = (*around, id(value))
    if isinstance(value, Mapping):
        return {_key(key): plain(item, inner) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, inner) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item(), inner)  # a NumPy scalar, or a tensor without dimensions
    if hasattr(value, "tolist"):
        return plain(value.tolist(), inner)
    return _number_or_text(value)


def _key(key: Any) -> str:
    return str(key) if isinstance(key, str) else _text(key)


def _number_or_text(value: Any) -> Any:
    if isinstance(value, int):
        try:
            float(value)
        except OverflowError:  # nor does JSON read one back
            return math.inf if value > 0 else -math.inf
        return int(value)
    return float(value) if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    """The value's own text, if it has one."""
    try:
        return str(value)[:TEXT_LIMIT]
    except Exception:  # noqa: BLE001 - the user's objects may raise anything
        return f"<{type(value).__name__}>"


def bounded(result: Mapping[str, Any], limit: int, first: Collection[str]) -> dict[str, Any]:
    """The result (of JSON types) within ``limit`` bytes of JSON.

    A larger one is flattened, and of its entries those in ``first`` are kept, then the smallest.
    """
    if _size(result) <= limit:
        return dict(result)
    flat = flatten(result)
    sizes = {key: _size(key) + _size(value) + 4 for key, value in flat.items()}
    kept: dict[str, Any] = {}
    used = 2
    for key in sorted(flat, key=lambda name: (name not in first, sizes[name])):
        if used + sizes[key] > limit:
            break
        kept[key] = flat[key]
        used += sizes[key]
    return kept


def require_objective(result: Mapping[str, Any], metric: str) -> None:
    """Raises AttemptFailed (MetricMissing) unless the result holds the metric as a number."""
    flat = flatten(result)
    if metric not in flat:
        raise AttemptFailed(
            Reason.METRIC_MISSING,
            f"the result has no metric {metric!r}, which spec.objective.metric asks for; "
            f"it has: {', '.join(sorted(flat))}",
        )
    if not _is_number(flat[metric]):
        raise AttemptFailed(
            Reason.METRIC_MISSING,
            f"the metric {metric!r} (spec.objective.metric) is no number: {flat[metric]!r}",
        )


def reached(result: Mapping[str, Any], criteria: Mapping[str, float]) -> str | None:
    """The first criterion whose bound is reached (value >= bound), or None."""
    flat = flatten(result)
    for key, bound in criteria.items():
        value = flat.get(key)
        if _is_number(value) and value >= bound:
            return f"{key} {value} >= {bound:g}"
    return None


def require_criteria(result: Mapping[str, Any], criteria: Mapping[str, float]) -> None:
    """Raises AttemptFailed (CriterionMissing) for a criterion on a key that is no number here.

    Ray Tune fails such a trial too ("Stopping criteria ... not provided in result").
    """
    flat = flatten(result)
    for key in criteria:
        if not _is_number(flat.get(key)):
            raise AttemptFailed(
                Reason.CRITERION_MISSING,
                f"the result has no number {key!r}, which spec.stop.criteria asks for; "
                f"it has: {', '.join(sorted(flat))}",
            )


def number(result: Mapping[str, Any], key: str) -> float | None:
    """The number at a key of a result; None when there is none."""
    value = flatten(result).get(key)
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float)


def _size(value: Any) -> int:
    """Bytes of JSON. The short ways are for results of very many values."""
    if type(value) is str:
        return len(encode_basestring_ascii(value))
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return len(repr(value))
    return len(json.dumps(value))
