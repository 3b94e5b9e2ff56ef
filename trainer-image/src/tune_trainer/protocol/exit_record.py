"""The exit record: how an attempt ended, in its own words, stored before the process exits.

Exit code 0 is not success: only a record with outcome Completed completes a trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tune_trainer.protocol import VERSION, fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.result import Result, results_from_json

MESSAGE_LIMIT = 1024
"""Characters of ``message`` that are kept."""

WORD_LIMIT = 256
"""Characters of the other texts that are kept: each is a name, an instant, an ID."""


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "Completed"
    STOPPED = "Stopped"
    INTERRUPTED = "Interrupted"
    FAILED = "Failed"


class Reason(StrEnum):
    """Reasons the SDK itself gives; user exceptions give their type's name."""

    COMPLETED = "Completed"
    STOPPED_BY_CRITERIA = "StoppedByCriteria"
    STOPPED_BY_DIRECTIVE = "StoppedByDirective"
    ENTRYPOINT_ERROR = "EntrypointError"
    METRIC_MISSING = "MetricMissing"
    CRITERION_MISSING = "CriterionMissing"
    NOT_CHECKPOINTABLE = "NotCheckpointable"
    NO_VALID_CHECKPOINT = "NoValidCheckpoint"


@dataclass(frozen=True)
class ExitRecord:
    """Outcome of one attempt.

    ``iteration`` is the last completed one, ``last_result`` its result, ``results`` those the
    operator had not acknowledged as durable, ``signal`` the one that interrupted ("SIGTERM"),
    ``directive`` the ID of the one that stopped it.
    """

    experiment: str
    trial: str
    attempt: int
    outcome: Outcome
    reason: str
    message: str
    iteration: int
    time: str
    signal: str = ""
    last_result: Result | None = None
    results: tuple[Result, ...] = ()
    directive: str = ""

    def to_json(self) -> dict[str, Any]:
        """As stored, and as sent in ``/v1/complete``."""
        return {
            "version": VERSION,
            "experiment": self.experiment,
            "trial": self.trial,
            "attempt": self.attempt,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "message": self.message[:MESSAGE_LIMIT],
            "iteration": self.iteration,
            "time": self.time,
            "signal": self.signal,
            "directive": self.directive,
            "lastResult": self.last_result.to_json() if self.last_result else None,
            "results": [result.to_json() for result in self.results],
        }

    def to_bytes(self) -> bytes:
        """Canonical bytes, so that a retry writes the same object."""
        return fields.dump(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> ExitRecord:
        """Raises ProtocolError."""
        return cls.from_json(fields.load(data, "exit record"))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ExitRecord:
        """Raises ProtocolError."""
        what = "exit record"
        outcome = fields.need(document, "outcome", str, what)
        if outcome not in set(Outcome):
            raise ProtocolError(f"{what}.outcome: {outcome!r} is none of {', '.join(Outcome)}")
        last = document.get("lastResult")
        results = fields.optional(document, "results", list, [], what)
        return cls(
            experiment=fields.optional(document, "experiment", str, "", what),
            trial=fields.need(document, "trial", str, what),
            attempt=fields.whole(document, "attempt", what, minimum=1),
            outcome=Outcome(outcome),
            reason=_text(document, "reason", outcome),
            message=_text(document, "message", limit=MESSAGE_LIMIT),
            iteration=_iteration(document),
            time=_text(document, "time"),
            signal=_text(document, "signal"),
            last_result=None if last is None else Result.from_json(last, f"{what}.lastResult"),
            results=results_from_json(results, f"{what}.results"),
            directive=_text(document, "directive"),
        )


def _text(
    document: Mapping[str, Any], name: str, default: str = "", limit: int = WORD_LIMIT
) -> str:
    """A text for people: cut, because it is kept for as long as the trial, and whole characters.

    Python reads half a surrogate pair from JSON (a file name that is no UTF-8 becomes one), but
    whoever stores it puts another character there, and it would differ from ours for ever.
    """
    text = fields.optional(document, name, str, default, "exit record")[:limit]
    return text.encode("utf-8", "replace").decode()


def _iteration(document: Mapping[str, Any]) -> int:
    """Within what keys and sums have room for."""
    value = fields.optional(document, "iteration", int, 0, "exit record")
    return min(max(value, 0), fields.LARGEST)
