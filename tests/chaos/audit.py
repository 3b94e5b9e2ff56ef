"""The API server's audit log of one namespace: which Pods were made, and who wrote what when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.audit import events
from tune_operator.api.constants import LABEL_ATTEMPT, LABEL_TRIAL


@dataclass(frozen=True)
class Created:
    """A Pod that the API server accepted."""

    trial: str
    attempt: int
    uid: str
    at: str


class AuditLog:
    """Reads on from where it began, so that a cluster that was used before does no harm."""

    def __init__(self, path: Path, namespace: str) -> None:
        self._path = path
        self._namespace = namespace
        self._from = path.stat().st_size

    def created(self) -> list[Created]:
        """The Pods of trials, in the order in which they came."""
        return [
            Created(
                trial=meta["labels"][LABEL_TRIAL],
                attempt=int(meta["labels"][LABEL_ATTEMPT]),
                uid=meta["uid"],
                at=event["requestReceivedTimestamp"],
            )
            for event in self._events()
            if event["verb"] == "create"
            and event["responseStatus"]["code"] == 201
            and event["objectRef"]["resource"] == "pods"
            and "subresource" not in event["objectRef"]
            and "dryRun=" not in event["requestURI"]
            and LABEL_TRIAL in (meta := event["responseObject"]["metadata"]).get("labels", {})
        ]

    def writes(self, since: str) -> list[str]:
        """What was begun to be written after a moment (RFC 3339), in short."""
        return [
            f"{event['verb']} {_name(event['objectRef'])} by {event.get('userAgent', '?')[:40]}"
            for event in self._events()
            if event["requestReceivedTimestamp"] > since
        ]

    def count(self, resource: str, subresource: str = "") -> int:
        """How many writes of one kind there were."""
        return sum(
            1
            for event in self._events()
            if event["objectRef"]["resource"] == resource
            and event["objectRef"].get("subresource", "") == subresource
        )

    def _events(self) -> Iterator[dict[str, Any]]:
        for event in events(self._path, self._from):
            if event.get("objectRef", {}).get("namespace") == self._namespace:
                yield event


def _name(about: dict[str, Any]) -> str:
    parts = (about["resource"], about.get("name", ""), about.get("subresource", ""))
    return "/".join(part for part in parts if part)
