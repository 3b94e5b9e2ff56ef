"""Trials as rows of ``status.trials`` and entries of ``status.live``, and back again.

People read the rows; the journal is the memory. What is read back serves an operator that cannot
open the journal. Absent keys mean the default, so that rows stay short.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tune_operator.lifecycle import instants
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol import numbers
from tune_trainer.protocol.keys import CheckpointRef

MESSAGE_LIMIT = 256
"""Characters of an interruption's message kept in a row; events show more."""

REASON_LIMIT = 64
"""Characters of a reason kept in a row: foreign trainers and exceptions may name anything."""

_LARGEST = 2**53
_EPOCH = datetime.fromtimestamp(0, UTC)
_COUNTERS = ("attempt", "iteration", "failures", "disruptions", "infrastructure")


def row(trial: TrialState) -> dict[str, Any]:
    """The trial's row without its parameters."""
    entry: dict[str, Any] = {"name": trial.name, "state": trial.phase.value}
    entry.update({name: whole(getattr(trial, name)) for name in _COUNTERS if getattr(trial, name)})
    entry.update({"reason": trial.reason[:REASON_LIMIT], "node": trial.node})
    entry.update(number("objectiveValue", trial.objective))
    entry["startTime"] = instants.render(trial.started)
    entry["completionTime"] = instants.render(trial.ended)
    if trial.checkpoint:
        entry["checkpoint"] = checkpoint_fields(trial.checkpoint)
    if trial.interruption:
        entry["lastInterruption"] = _interruption_row(trial.interruption)
    return _compact(entry)


def without_message(entry: dict[str, Any]) -> None:
    """Shorten a row: what the last interruption said is left out."""
    entry.get("lastInterruption", {}).pop("message", None)


def without_place(entry: dict[str, Any]) -> None:
    """Shorten a row: where an attempt ran and how its process ended are left out."""
    entry.pop("node", None)
    for key in ("node", "exitCode"):
        entry.get("lastInterruption", {}).pop(key, None)


def live(trial: TrialState) -> str:
    """``<attempt>/<Pod UID>/<stop intent>`` of an open attempt."""
    return f"{trial.attempt}/{trial.pod_uid}/{trial.stop_intent.value}"


def read(entry: Mapping[str, Any], live_entry: str | None) -> TrialState:
    """The trial of a row; what ``live`` says of its attempt wins."""
    attempt, uid, intent = (live_entry or f"{entry.get('attempt', 0)}//").split("/", 2)
    checkpoint = entry.get("checkpoint")
    interruption = entry.get("lastInterruption")
    return TrialState(
        name=entry["name"],
        phase=Phase(entry.get("state", Phase.PENDING)),
        reason=entry.get("reason", ""),
        attempt=int(attempt),
        open=live_entry is not None,
        pod_uid=uid,
        stop_intent=StopIntent(intent),
        node=entry.get("node", ""),
        iteration=entry.get("iteration", 0),
        objective=read_number(entry, "objectiveValue"),
        checkpoint=_read_checkpoint(checkpoint) if checkpoint else None,
        failures=entry.get("failures", 0),
        disruptions=entry.get("disruptions", 0),
        infrastructure=entry.get("infrastructure", 0),
        interruption=_read_interruption(interruption) if interruption else None,
        started=instants.parse(entry.get("startTime")),
        ended=instants.parse(entry.get("completionTime")),
    )


def whole(value: int) -> int:
    """What the schema takes as a count: a trainer's absurd number must not wedge the object."""
    return min(max(value, 0), _LARGEST)


def number(name: str, value: float | None) -> dict[str, Any]:
    """``{name: value}``, or its text in ``<name>Text`` when it is not finite; empty for None."""
    if value is None:
        return {}
    return {name: value} if math.isfinite(value) else {f"{name}Text": numbers.text_of(value)}


def read_number(entry: Mapping[str, Any], name: str) -> float | None:
    """The inverse of `number`."""
    if entry.get(name) is not None:
        return float(entry[name])
    text = entry.get(f"{name}Text")
    return numbers.number_of(text) if text else None


def checkpoint_fields(checkpoint: Checkpoint) -> dict[str, Any]:
    """``{iteration, attempt, time}``."""
    return {
        "iteration": whole(checkpoint.ref.iteration),
        "attempt": whole(checkpoint.ref.attempt),
        "time": instants.render(checkpoint.time),
    }


def _read_checkpoint(entry: Mapping[str, Any]) -> Checkpoint:
    ref = CheckpointRef(entry["attempt"], entry["iteration"])
    return Checkpoint(ref, instants.parse(entry.get("time")) or _EPOCH)


def _interruption_row(why: Interruption) -> dict[str, Any]:
    return {
        "class": why.cls,
        "reason": why.reason[:REASON_LIMIT],
        "exitCode": why.exit_code,
        "message": why.message[:MESSAGE_LIMIT],
        "row": why.row,
        "node": why.node,
        "attempt": why.attempt,
        "iteration": whole(why.iteration),
        "time": instants.render(why.time),
    }


def _read_interruption(entry: Mapping[str, Any]) -> Interruption:
    return Interruption(
        cls=entry["class"],
        reason=entry.get("reason", ""),
        message=entry.get("message", ""),
        row=entry.get("row", 0),
        attempt=entry.get("attempt", 0),
        iteration=entry.get("iteration", 0),
        time=instants.parse(entry.get("time")) or _EPOCH,
        exit_code=entry.get("exitCode"),
        node=entry.get("node", ""),
    )


def _compact(entry: dict[str, Any]) -> dict[str, Any]:
    nested = {
        key: _compact(value) if isinstance(value, dict) else value for key, value in entry.items()
    }
    return {key: value for key, value in nested.items() if value not in (None, "", [], {})}
