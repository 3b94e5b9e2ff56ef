"""Results the operator has not called durable yet, within a bound.

Every result stays here until it is durable, and rides in each manifest and in the exit record. The
bound is reached when the operator is away for long: the results up to it stay as they are; of those
beyond it the newest and the best by the objective are kept, and the others are counted as merged.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tune_trainer import metrics
from tune_trainer.protocol import fields
from tune_trainer.protocol.result import Result


@dataclass(frozen=True)
class _Entry:
    result: Result
    size: int
    score: float
    refused: bool = False


class Spool:
    """Not thread-safe: the reporter guards it.

    ``metric`` and ``mode`` ("min" or "max") say which result is the best.
    """

    def __init__(self, metric: str, mode: str, max_results: int, max_bytes: int) -> None:
        self._metric = metric
        self._sign = 1.0 if mode == "max" else -1.0
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._kept: list[_Entry] = []
        self._beyond: list[_Entry] = []
        self._bytes = 0
        self.last: Result | None = None
        self.received = 0
        """The operator has taken in all results up to this sequence."""
        self.durable = 0
        self.merged = 0
        """Results that were given up because of the bound."""

    @property
    def seq(self) -> int:
        """Sequence of the newest result, 0 before the first."""
        return self.last.seq if self.last else 0

    def add(self, result: Mapping[str, Any]) -> Result:
        """Number a result and keep it."""
        added = Result(self.seq + 1, result)
        self.last = added
        entry = _Entry(added, len(fields.dump(added.to_json())), self._score(result))
        if not self._beyond and self._fits(entry):
            self._keep(entry)
        else:
            self._merge(entry)
        return added

    def unsent(self, limit: int) -> tuple[Result, ...]:
        """The oldest results the operator lacks: at most ``limit`` bytes, but at least one."""
        chosen: list[Result] = []
        used = 0
        for entry in (*self._kept, *self._beyond):
            if entry.refused or entry.result.seq <= self.received:
                continue
            used += entry.size
            if chosen and used > limit:
                break
            chosen.append(entry.result)
        return tuple(chosen)

    def answered(self, received: int, durable: int) -> None:
        """Take in an answer. ``received`` falls when the operator restarted: it is sent again."""
        self.received = max(received, durable)
        self.durable = max(self.durable, durable)
        self._kept = [entry for entry in self._kept if entry.result.seq > self.durable]
        self._beyond = [entry for entry in self._beyond if entry.result.seq > self.durable]
        self._bytes = sum(entry.size for entry in self._kept)
        while self._beyond and self._fits(self._beyond[0]):
            self._keep(self._beyond.pop(0))

    def refused(self, results: Collection[Result]) -> None:
        """The operator will never take these: stop sending them, but keep them."""
        seqs = {result.seq for result in results}
        self._kept = [_refuse(entry, seqs) for entry in self._kept]
        self._beyond = [_refuse(entry, seqs) for entry in self._beyond]

    def undurable(self) -> tuple[Result, ...]:
        """All that is kept, in order."""
        return tuple(entry.result for entry in (*self._kept, *self._beyond))

    def _fits(self, entry: _Entry) -> bool:
        fits = self._bytes + entry.size <= self._max_bytes
        return fits and len(self._kept) < self._max_results

    def _keep(self, entry: _Entry) -> None:
        self._kept.append(entry)
        self._bytes += entry.size

    def _merge(self, newest: _Entry) -> None:
        candidates = [*self._beyond, newest]
        best = max(candidates, key=lambda entry: entry.score)
        self._beyond = [newest] if best is newest else [best, newest]
        self.merged += len(candidates) - len(self._beyond)

    def _score(self, result: Mapping[str, Any]) -> float:
        value = metrics.number(result, self._metric)
        return -math.inf if value is None or math.isnan(value) else self._sign * value


def _refuse(entry: _Entry, seqs: Collection[int]) -> _Entry:
    return replace(entry, refused=True) if entry.result.seq in seqs else entry
