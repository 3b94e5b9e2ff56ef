"""The objective's value in a result, and which of two values is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def objective_of(metrics: Mapping[str, Any], metric: str) -> float | None:
    """The value of ``metric``; "a/b" also finds ``{"a": {"b": ...}}``, as in Ray's flat results.

    None when it is missing or no number; NaN stays NaN.
    """
    value: Any = metrics.get(metric)
    if metric not in metrics and "/" in metric:
        value = metrics
        for part in metric.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def rank(value: float | None, mode: str) -> tuple[bool, float]:
    """Sort key, ascending from worst to best. A missing value or NaN is worse than any number."""
    if value is None or math.isnan(value):
        return (False, 0.0)
    return (True, value if mode == "max" else -value)
