"""Typed access to the fields of foreign JSON, so that every message is refused by field name."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NoReturn, TypeVar

from tune_trainer.protocol import VERSION
from tune_trainer.protocol.errors import ProtocolError

T = TypeVar("T")

LARGEST = 10**9
"""No attempt, iteration or sequence is larger; keys have room for ten digits."""

LARGEST_SIZE = 10**15
"""No file is larger, in bytes."""


def load(data: bytes | str, what: str, versions: Collection[int] = (VERSION,)) -> dict[str, Any]:
    """Parse JSON that must be an object of a version known here; raises ProtocolError."""
    try:
        document = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{what}: no JSON ({error})") from None
    if not isinstance(document, dict):
        raise ProtocolError(f"{what}: expected a JSON object")
    version = document.get("version")
    if type(version) is not int or version not in versions:
        expected = " or ".join(map(str, versions))
        raise ProtocolError(f"{what}.version: {version!r} is not known here (expected {expected})")
    return document


def dump(document: Mapping[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, no blanks, no NaN; raises ValueError for a non-finite number."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def need(document: Mapping[str, Any], name: str, kind: type[T], what: str) -> T:
    """A field that must be there and be of this type (a bool is no int)."""
    if name not in document:
        raise ProtocolError(f"{what}.{name}: missing")
    return _check(document[name], name, kind, what)


def optional(document: Mapping[str, Any], name: str, kind: type[T], default: T, what: str) -> T:
    """A field that may be absent or null."""
    value = document.get(name)
    return default if value is None else _check(value, name, kind, what)


def whole(
    document: Mapping[str, Any], name: str, what: str, *, minimum: int = 0, maximum: int = LARGEST
) -> int:
    """A whole number that must be there and lie between ``minimum`` and ``maximum``."""
    value = need(document, name, int, what)
    if not minimum <= value <= maximum:
        raise ProtocolError(f"{what}.{name}: is not between {minimum} and {maximum}")
    return value


def plain_path(path: str, where: str) -> str:
    """A relative path with forward slashes that stays inside its directory, else ProtocolError."""
    if "\\" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ProtocolError(f"{where}.path: {path!r} is no plain relative path")
    return path


def _check(value: Any, name: str, kind: type[T], what: str) -> T:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ProtocolError(f"{what}.{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _finite(text: str) -> float:
    """``1e999`` is JSON, and yet it would become an infinity."""
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
