"""What a run says: its progress, and a table of what was done and what became of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping

BEGAN = time.monotonic()


def say(text: str) -> None:
    """One line with the time since the start."""
    sys.stdout.write(f"chaos {time.monotonic() - BEGAN:5.0f} s  {text}\n")
    sys.stdout.flush()


def table(title: str, rows: Mapping[str, object]) -> None:
    """Two columns below a title."""
    width = max((len(name) for name in rows), default=0)
    sys.stdout.write(f"\n{title}\n")
    for name, value in rows.items():
        sys.stdout.write(f"  {name:<{width}}  {value}\n")
    sys.stdout.flush()


def problems(found: Iterable[str], limit: int = 60) -> None:
    """What was wrong, the first ones in full."""
    listed = list(found)
    for text in listed[:limit]:
        sys.stdout.write(f"  - {text}\n")
    if len(listed) > limit:
        sys.stdout.write(f"  - and {len(listed) - limit} more\n")
    sys.stdout.flush()
