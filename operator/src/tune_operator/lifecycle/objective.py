"""The objective's value in a result, and which of two values is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def objective_of(metrics: Mapping[str, Any], metric: str) -> float | None:
    """The value of ``metric``; "a/b" also finds ``{"a": {"b": ...}}``, as in Ray's flat results.

    None when it is missing or no number; NaN stays NaN, an integer beyond any float is infinite.
    """
    value: Any = metrics.get(metric)
    if metric not in metrics and "/" in metric:
        value = metrics
        for part in metric.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def rank(value: float | None, mode: str) -> tuple[bool, float]:
    """Sort key, ascending from worst to best. Whatever is no finite number is worse than any
    that is, as Ray's ``get_best_trial`` has it by default.
    """
    if value is None or not math.isfinite(value):
        return (False, 0.0)
    return (True, value if mode == "max" else -value)
