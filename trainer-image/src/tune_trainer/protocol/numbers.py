"""Results as JSON. NaN and the infinities are not JSON (RFC 8259), so they travel beside it.

A non-finite number becomes ``null`` in ``metrics`` and its text ("NaN", "Infinity", "-Infinity")
stands in the sibling ``nonFinite`` under its JSON pointer (RFC 6901).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tune_trainer.protocol.errors import ProtocolError

DEPTH_LIMIT = 100
"""Levels of metrics. What can just be read could not be written again further down the stack."""

_TEXT = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def text_of(value: float) -> str:
    """Text of a non-finite number."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def number_of(text: str) -> float:
    """Number of a non-finite text; raises ProtocolError."""
    try:
        return _TEXT[text]
    except KeyError:
        raise ProtocolError(f"{text!r} is none of NaN, Infinity, -Infinity") from None


def encode(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """``{"metrics": ..., "nonFinite": ...}``; the second only when needed.

    Values must be JSON types (SDKs convert NumPy scalars first).
    """
    found: dict[str, str] = {}
    plain = _strip(metrics, "", found)
    return {"metrics": plain, "nonFinite": found} if found else {"metrics": plain}


def decode(document: Mapping[str, Any], where: str = "result") -> dict[str, Any]:
    """The metrics of an encoded result; raises ProtocolError."""
    metrics = document.get("metrics")
    if not isinstance(metrics, Mapping):
        raise ProtocolError(f"{where}.metrics: expected an object")
    found = document.get("nonFinite", {})
    if not isinstance(found, Mapping):
        raise ProtocolError(f"{where}.nonFinite: expected an object")
    restored: dict[str, Any] = _copy(metrics, where, DEPTH_LIMIT)
    for pointer, text in found.items():
        _put(restored, str(pointer), number_of(str(text)), where)
    return restored


def _strip(value: Any, pointer: str, found: dict[str, str]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        found[pointer] = text_of(value)
        return None
    if isinstance(value, Mapping):
        return {str(k): _strip(v, f"{pointer}/{_escape(str(k))}", found) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strip(v, f"{pointer}/{i}", found) for i, v in enumerate(value)]
    return value


def _copy(value: Any, where: str, levels: int) -> Any:
    if levels == 0:
        raise ProtocolError(f"{where}.metrics: nested too deeply")
    if isinstance(value, Mapping):
        return {k: _copy(v, where, levels - 1) for k, v in value.items()}
    return [_copy(v, where, levels - 1) for v in value] if isinstance(value, list) else value


def _put(target: Any, pointer: str, number: float, where: str) -> None:
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    try:
        for part in path:
            target = target[int(part) if isinstance(target, list) else part]
        target[int(last) if isinstance(target, list) else last] = number
    except (KeyError, IndexError, ValueError, TypeError):
        raise ProtocolError(f"{where}.nonFinite: {pointer!r} points at nothing") from None


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
