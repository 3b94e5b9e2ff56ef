"""Instants as Kubernetes writes them (RFC 3339, UTC, whole seconds)."""

from __future__ import annotations

from datetime import UTC, datetime


def parse(text: str | None) -> datetime | None:
    """An instant, or None for an absent one."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def render(instant: datetime | None) -> str | None:
    """``2026-01-31T12:00:00Z``, or None."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if instant else None
