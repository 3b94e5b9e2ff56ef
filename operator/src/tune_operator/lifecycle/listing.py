"""Which trials ``status.trials`` shows: all while they fit, then those that people ask for first.

The status of one object must stay small at any number of trials; the journal has them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tune_operator.api.status import MAX_LISTED_TRIALS, MAX_RANGES
from tune_operator.lifecycle import trial_rows
from tune_operator.lifecycle.trial_state import Phase, TrialState

PARAMS_LIMIT = 4 * 1024
"""Bytes of one trial's parameters that are shown."""

TRIALS_LIMIT = 110 * 1024
"""Bytes of ``status.trials``; beyond it rows lose what is only there for people to read."""


def listed(trials: Sequence[TrialState], best: TrialState | None) -> dict[str, Any]:
    """``trials``, in order, and ``finished`` for those that found no place."""
    ranked = sorted(trials, key=lambda trial: _rank(trial, best))
    rows = _fitted(ranked[:MAX_LISTED_TRIALS])
    rows.sort(key=lambda row: int(row["name"]))
    names = {row["name"] for row in rows}
    return {"trials": rows, **_finished(trial for trial in trials if trial.name not in names)}


def shown(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The parameters under ``name``, unless they are too long to show."""
    if _bytes(params) > PARAMS_LIMIT:
        return {"truncated": True}
    return {name: dict(params)} if params else {}


def _rank(trial: TrialState, best: TrialState | None) -> tuple[int, int]:
    """Running ones, the best, errors from the last, those that wait, the newest of the rest."""
    if trial.open:
        return (0, trial.index)
    if best is not None and trial.name == best.name:
        return (1, 0)
    order = {Phase.ERRORED: 2, Phase.PENDING: 3}
    return (order.get(trial.phase, 4), -trial.index)


def _fitted(ranked: Sequence[TrialState]) -> list[dict[str, Any]]:
    """Rows of as many as there is room for, shortened before any is left out."""
    rows = [{**trial_rows.row(trial), **shown(trial.config, "params")} for trial in ranked]
    size = sum(_bytes(row) + 1 for row in rows)
    for shorten in (_without_params, trial_rows.without_message, trial_rows.without_place):
        for row in reversed(rows):
            if size <= TRIALS_LIMIT:
                return rows
            before = _bytes(row)
            shorten(row)
            size -= before - _bytes(row)
    while size > TRIALS_LIMIT:
        size -= _bytes(rows.pop()) + 1
    return rows


def _without_params(row: dict[str, Any]) -> None:
    if row.pop("params", None) is not None:
        row["truncated"] = True


def _finished(trials: Iterable[TrialState]) -> dict[str, Any]:
    """Names as ranges, ``0-2,5-16``, by end; nothing where they would grow too long."""
    ends: dict[str, list[int]] = {"terminated": [], "errored": []}
    for trial in trials:
        if trial.finished:
            ends[trial.phase.value.lower()].append(trial.index)
    found = {end: text for end, indices in ends.items() if (text := _ranges(indices))}
    return {"finished": found} if found else {}


def _ranges(indices: Sequence[int]) -> str:
    spans: list[list[int]] = []
    for index in indices:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
    return text if len(text) <= MAX_RANGES else ""


def _bytes(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())
