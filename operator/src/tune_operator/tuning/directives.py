"""What tuning answers: to a result, and to the question for the next trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Continue:
    """Train on."""


Directive = Continue
"""An answer to a result; schedulers that stop, pause or exploit add theirs."""


@dataclass(frozen=True)
class Suggestion:
    """A new trial."""

    trial_id: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Wait:
    """No new trial now, but perhaps after the next result."""


@dataclass(frozen=True)
class Finished:
    """No new trial, ever."""
