"""Every version of the experiment's status, checked as it comes: what may never be, at any time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tune_operator.kube.client import Kube
from tune_operator.kube.errors import KubeError
from tune_operator.kube.resources import EXPERIMENTS

STATUS_LIMIT = 256 * 1024
FINAL = ("Terminated", "Errored")
COUNTERS = ("failures", "disruptions", "infrastructure", "lostIterations")


class StatusHistory:
    """What one status said after the other. ``problems``: what contradicts an earlier one."""

    def __init__(self) -> None:
        self.versions = 0
        self.largest = 0
        self.last: Mapping[str, Any] = {}
        self.problems: list[str] = []
        self._attempts: dict[str, int] = {}
        self._bound: dict[tuple[str, int], str] = {}
        self._final: dict[str, str] = {}
        self._counters: dict[str, int] = {}

    def take(self, status: Mapping[str, Any]) -> None:
        """The next version."""
        self.versions += 1
        self.last = status
        self.largest = max(self.largest, len(json.dumps(status, separators=(",", ":"))))
        for trial, entry in status.get("live", {}).items():
            number, uid, _ = entry.split("/")
            self._current(trial, int(number), uid)
        for row in status.get("trials", []):
            self._ended(row["name"], row["state"])
        for name in COUNTERS:
            value = status.get(name, 0)
            if value < self._counters.get(name, 0):
                self.problems.append(f"status.{name} fell to {value}")
            self._counters[name] = value

    def bound(self) -> Mapping[tuple[str, int], str]:
        """The UID that was shown for each (trial, attempt)."""
        return self._bound

    def _current(self, trial: str, number: int, uid: str) -> None:
        if number < self._attempts.get(trial, 0):
            self.problems.append(f"trial {trial} went back to attempt {number}")
        self._attempts[trial] = number
        if trial in self._final:
            self.problems.append(f"trial {trial} runs again after it was {self._final[trial]}")
        if uid:
            known = self._bound.setdefault((trial, number), uid)
            if known != uid:
                self.problems.append(f"two Pods were bound to attempt {number} of trial {trial}")

    def _ended(self, trial: str, state: str) -> None:
        before = self._final.get(trial)
        if before and state != before:
            self.problems.append(f"trial {trial} is {state} after it was {before}")
        if state in FINAL:
            self._final[trial] = state


@asynccontextmanager
async def followed(kube: Kube, made: Mapping[str, Any]) -> AsyncIterator[StatusHistory]:
    """Watch the experiment around the block, from its creation on."""
    history = StatusHistory()
    task = asyncio.ensure_future(_follow(kube, made, history))
    try:
        yield history
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _follow(kube: Kube, made: Mapping[str, Any], history: StatusHistory) -> None:
    meta = made["metadata"]
    version = meta["resourceVersion"]
    while True:
        try:
            async for kind, item in kube.watch(EXPERIMENTS, meta["namespace"], version):
                version = item["metadata"]["resourceVersion"]
                if kind in ("ADDED", "MODIFIED") and item["metadata"]["name"] == meta["name"]:
                    history.take(item.get("status") or {})
        except KubeError:
            await asyncio.sleep(0.2)
