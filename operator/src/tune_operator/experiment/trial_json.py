"""A trial as JSON and back, exactly: the journal is the memory, the status only shows it.

What has its default is left out, so that records stay short; what is unknown is kept quiet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tune_operator.lifecycle.trial_state import (
    Avoided,
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol import fields, numbers
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import CheckpointRef

PROGRESS = frozenset({"seq", "iteration", "objective", "objectiveText", "checkpoint"})
"""Keys of a row that change with every report."""

TEXT_LIMIT = 64 * 1024
"""Characters of a text, many more than we write: who owns the bucket may have written others."""

UID_LIMIT = 64
"""Characters of a UID, which goes into the status as it is."""

_WHAT = "trial"
_TEXTS = {"reason": "reason", "podUID": "pod_uid", "node": "node"}
_COUNTS = {
    name: name
    for name in (
        "attempt",
        "iteration",
        "seq",
        "failures",
        "disruptions",
        "infrastructure",
        "streak",
    )
}
_INSTANTS = {"startTime": "started", "endTime": "ended"}


def write(trial: TrialState) -> dict[str, Any]:
    """The trial without its configuration."""
    row: dict[str, Any] = {"trial": trial.name, "state": trial.phase.value}
    for key, name in {**_TEXTS, **_COUNTS}.items():
        if value := getattr(trial, name):
            row[key] = value
    for key, name in _INSTANTS.items():
        if (moment := getattr(trial, name)) is not None:
            row[key] = instant(moment)
    if trial.open:
        row["open"] = True
    if trial.stop_intent:
        row["stopIntent"] = trial.stop_intent.value
    if trial.objective is not None:
        row |= number(trial.objective)
    if trial.checkpoint:
        row["checkpoint"] = checkpoint(trial.checkpoint)
    if trial.plan:
        row["plan"] = [str(ref) for ref in trial.plan]
    if trial.interruption:
        row["lastInterruption"] = _write_interruption(trial.interruption)
    if trial.avoid:
        row["avoid"] = [{"node": each.node, "until": instant(each.until)} for each in trial.avoid]
    return row


def read(row: Mapping[str, Any], config: Mapping[str, Any]) -> TrialState:
    """The inverse of `write`. Raises ProtocolError, ValueError, KeyError or TypeError."""
    given: dict[str, Any] = {name: text(row, key, _WHAT) for key, name in _TEXTS.items()}
    given |= {name: count(row, key, _WHAT) for key, name in _COUNTS.items()}
    given |= {name: read_instant(row.get(key)) for key, name in _INSTANTS.items()}
    text(row, "podUID", _WHAT, UID_LIMIT)
    why = row.get("lastInterruption")
    return TrialState(
        name=fields.need(row, "trial", str, _WHAT),
        phase=Phase(row["state"]),
        open=fields.optional(row, "open", bool, default=False, what=_WHAT),
        stop_intent=StopIntent(row.get("stopIntent", "")),
        objective=read_number(row),
        checkpoint=read_checkpoint(row.get("checkpoint")),
        plan=tuple(CheckpointRef.parse(text) for text in row.get("plan", ())),
        interruption=None if why is None else _read_interruption(why),
        avoid=tuple(Avoided(each["node"], _moment(each["until"])) for each in row.get("avoid", ())),
        config=config,
        **given,
    )


def number(value: float | None) -> dict[str, Any]:
    """``{objective: value}``; not finite: null, and its text in ``objectiveText``."""
    if value is None or math.isfinite(value):
        return {"objective": value}
    return {"objective": None, "objectiveText": numbers.text_of(value)}


def read_number(row: Mapping[str, Any]) -> float | None:
    """The inverse of `number`."""
    if (text := row.get("objectiveText")) is not None:
        return numbers.number_of(text)
    value = row.get("objective")
    return None if value is None else fields.need(row, "objective", float, _WHAT)


def checkpoint(known: Checkpoint | None) -> dict[str, Any] | None:
    """``{ref, time}``, or None."""
    return {"ref": str(known.ref), "time": instant(known.time)} if known else None


def read_checkpoint(row: Mapping[str, Any] | None) -> Checkpoint | None:
    """The inverse of `checkpoint`."""
    if row is None:
        return None
    return Checkpoint(CheckpointRef.parse(row["ref"]), _moment(row["time"]))


def text(row: Mapping[str, Any], key: str, what: str, limit: int = TEXT_LIMIT) -> str:
    """A text that the status could show; empty if there is none. Raises ProtocolError."""
    value = fields.optional(row, key, str, "", what)
    if len(value) > limit:
        raise ProtocolError(f"{what}.{key}: is too long")
    return value


def count(row: Mapping[str, Any], key: str, what: str) -> int:
    """A number that the status could show; 0 if there is none. Raises ProtocolError."""
    return fields.whole(row, key, what) if key in row else 0


def instant(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with all its digits, or None."""
    return moment.astimezone(UTC).isoformat() if moment else None


def read_instant(text: str | None) -> datetime | None:
    """The inverse of `instant`."""
    return None if text is None else _moment(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text}: has no time zone")
    return moment.astimezone(UTC)


def _write_interruption(why: Interruption) -> dict[str, Any]:
    row = {
        "class": why.cls,
        "reason": why.reason,
        "message": why.message,
        "row": why.row,
        "attempt": why.attempt,
        "iteration": why.iteration,
        "time": instant(why.time),
        "exitCode": why.exit_code,
        "node": why.node,
    }
    return {key: value for key, value in row.items() if value not in (None, "")}


def _read_interruption(row: Mapping[str, Any]) -> Interruption:
    what = f"{_WHAT}.lastInterruption"
    texts: dict[str, Any] = {
        name: text(row, key, what)
        for key, name in {"class": "cls", "reason": "reason", "message": "message"}.items()
    }
    counts: dict[str, Any] = {
        name: fields.whole(row, name, what) for name in ("row", "attempt", "iteration")
    }
    return Interruption(
        **texts,
        **counts,
        time=_moment(row["time"]),
        exit_code=None if row.get("exitCode") is None else fields.need(row, "exitCode", int, what),
        node=text(row, "node", what),
    )
