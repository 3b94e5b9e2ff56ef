"""One result of a trial: the dictionary of metrics of one training iteration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tune_trainer.protocol import fields, numbers
from tune_trainer.protocol.errors import ProtocolError


@dataclass(frozen=True)
class Result:
    """``metrics`` holds user and auto-filled fields; ``seq`` counts from 1 within an attempt.

    ``weight`` is its share of the bytes it was read from, for whoever must bound what he keeps.
    """

    seq: int
    metrics: Mapping[str, Any]
    weight: int = field(default=0, compare=False, repr=False)

    @property
    def iteration(self) -> int:
        """The auto-filled ``training_iteration``; 0 when there is none, or nonsense."""
        value = self.metrics.get("training_iteration", 0)
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole and 0 <= value <= fields.LARGEST else 0

    def to_json(self) -> dict[str, Any]:
        """Encoded for a message, manifest or exit record."""
        return {"seq": self.seq, **numbers.encode(self.metrics)}

    @classmethod
    def from_json(cls, document: Any, where: str, weight: int = 0) -> Result:
        """Raises ProtocolError."""
        if not isinstance(document, Mapping):
            raise ProtocolError(f"{where}: expected an object")
        seq = fields.whole(document, "seq", where, minimum=1)
        return cls(seq, numbers.decode(document, where), weight)


def results_from_json(documents: list[Any], where: str, size: int = 0) -> tuple[Result, ...]:
    """Results in strictly ascending sequence, of ``size`` bytes together; raises ProtocolError."""
    weight = -(-size // max(1, len(documents)))
    results = tuple(Result.from_json(d, f"{where}[{i}]", weight) for i, d in enumerate(documents))
    for earlier, later in pairwise(results):
        if later.seq <= earlier.seq:
            raise ProtocolError(f"{where}: sequence {later.seq} follows {earlier.seq}")
    return results
