"""The status subresource: rendered from the durable state, and read back after a restart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_operator.lifecycle import instants, trial_rows
from tune_operator.lifecycle.conditions import Condition, merge
from tune_operator.lifecycle.objective import rank
from tune_operator.lifecycle.observation import Observation
from tune_operator.lifecycle.trial_state import Phase, RunState
from tune_trainer.protocol.keys import RunKeys

PARAMS_LIMIT = 4 * 1024
"""Bytes of one trial's parameters that are shown."""

TRIALS_LIMIT = 110 * 1024
"""Bytes of ``status.trials``; beyond it rows lose what is only there for people to read."""


@dataclass(frozen=True)
class RunFacts:
    """What rendering needs beside the state. ``config`` gives a trial's configuration by index."""

    uri: str
    bucket: str
    keys: RunKeys
    config: Callable[[int], Mapping[str, Any]]


def read(status: Mapping[str, Any]) -> RunState:
    """The durable state in a status; an empty status is an empty state."""
    live = status.get("live") or {}
    return RunState(
        run_id=status.get("runID", ""),
        term=(status.get("journal") or {}).get("term", 0),
        trials=tuple(
            trial_rows.read(entry, live.get(entry["name"])) for entry in status.get("trials") or []
        ),
        lost_iterations=status.get("lostIterations", 0),
        started=instants.parse(status.get("startTime")),
        ended=instants.parse(status.get("completionTime")),
    )


def render(
    observation: Observation,
    state: RunState,
    facts: RunFacts | None,
    current: Iterable[Condition],
    previous: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole status. ``facts`` is None as long as the specification was not accepted."""
    experiment = observation.experiment
    status: dict[str, Any] = {
        "observedGeneration": experiment.generation,
        "conditions": merge(
            previous.get("conditions") or [], list(current), experiment.generation, observation.now
        ),
        "state": _word(state, deleting=experiment.deleted is not None, accepted=facts is not None),
    }
    status.update(_times(state))
    if state.run_id:
        status["runID"] = state.run_id
    if state.term:
        status["journal"] = {"term": state.term}
    if facts is not None:
        mode = experiment.spec.objective.mode
        status["storage"] = {"uri": facts.uri}
        status.update(_sums(state, state.size(observation.total)))
        status["trials"] = _rows(state, facts)
        status.update(_best(state, facts, mode))
    status["live"] = {trial.name: trial_rows.live(trial) for trial in state.open_attempts}
    return status


def _times(state: RunState) -> dict[str, Any]:
    times = {
        "startTime": instants.render(state.started),
        "completionTime": instants.render(state.ended),
    }
    return {key: value for key, value in times.items() if value}


def _word(state: RunState, *, deleting: bool, accepted: bool) -> str:
    if state.ended is not None:
        errored = all(trial.phase is Phase.ERRORED for trial in state.trials)
        return "Failed" if errored else "Complete"
    if deleting:
        return "Stopping"
    if not accepted:
        return "Rejected"
    return "Running" if state.trials else "Pending"


def _sums(state: RunState, total: int) -> dict[str, Any]:
    phases = Counter(trial.phase for trial in state.trials)
    done = phases[Phase.TERMINATED] + phases[Phase.ERRORED]
    return {
        "counts": {
            "total": total,
            "pending": total - done - phases[Phase.RUNNING],
            "running": phases[Phase.RUNNING],
            "paused": 0,
            "terminated": phases[Phase.TERMINATED],
            "errored": phases[Phase.ERRORED],
        },
        "done": f"{done}/{total}",
        "failures": sum(trial.failures for trial in state.trials),
        "disruptions": sum(trial.disruptions for trial in state.trials),
        "lostIterations": state.lost_iterations,
    }


def _rows(state: RunState, facts: RunFacts) -> list[dict[str, Any]]:
    rows = [{**trial_rows.row(t), **_shown(facts.config(t.index), "params")} for t in state.trials]
    # The dearest and least needed first, and of that what finished trials say.
    order = sorted(zip(state.trials, rows, strict=True), key=lambda pair: not pair[0].finished)
    size = sum(_bytes(row) + 1 for row in rows)
    for shorten in (_without_params, trial_rows.without_message, trial_rows.without_place):
        for _, row in order:
            if size <= TRIALS_LIMIT:
                return rows
            before = _bytes(row)
            shorten(row)
            size -= before - _bytes(row)
    return rows


def _without_params(row: dict[str, Any]) -> None:
    if row.pop("params", None) is not None:
        row["truncated"] = True


def _best(state: RunState, facts: RunFacts, mode: str) -> dict[str, Any]:
    candidates = [trial for trial in state.trials if rank(trial.objective, mode)[0]]
    if not candidates:
        return {}
    # max() keeps the first of equals: the earliest trial wins a tie.
    best = max(candidates, key=lambda trial: rank(trial.objective, mode))
    entry: dict[str, Any] = {
        "trial": best.name,
        "objectiveValue": best.objective,
        "iteration": trial_rows.whole(best.iteration),
        **_shown(facts.config(best.index), "config"),
    }
    if best.checkpoint:
        key = facts.keys.trial(best.name).manifest(best.checkpoint.ref)
        entry["checkpoint"] = {
            "uri": f"s3://{facts.bucket}/{key}",
            **trial_rows.checkpoint_fields(best.checkpoint),
        }
    return {"best": entry}


def _shown(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    if _bytes(params) > PARAMS_LIMIT:
        return {"truncated": True}
    return {name: dict(params)} if params else {}


def _bytes(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())
