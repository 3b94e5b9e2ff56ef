"""The status subresource: the durable state, rendered for people and tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_operator.lifecycle import instants, listing, trial_rows
from tune_operator.lifecycle.conditions import Condition, merge, stopped_by
from tune_operator.lifecycle.objective import rank
from tune_operator.lifecycle.observation import Observation
from tune_operator.lifecycle.trial_state import Phase, RunState, TrialState
from tune_trainer.protocol.keys import RunKeys, trial_name


@dataclass(frozen=True)
class RunFacts:
    """What rendering needs beside the state: where the run lies, and who owns it."""

    run_id: str
    term: int
    uri: str
    bucket: str
    keys: RunKeys


def read(status: Mapping[str, Any]) -> RunState:
    """What the status alone tells, for an operator that cannot open the journal.

    All open attempts are there, and the rows that people see; of other trials only the place.
    """
    live = dict(status.get("live") or {})
    rows = {entry["name"]: entry for entry in status.get("trials") or []}
    known = {
        name: trial_rows.read(rows.get(name, {"name": name}), live.get(name))
        for name in {*rows, *live}
    }
    size = 1 + max((trial.index for trial in known.values()), default=-1)
    names = map(trial_name, range(size))
    stopped, message = stopped_by(status.get("conditions") or [])
    return RunState(
        trials=tuple(known.get(name) or TrialState(name) for name in names),
        lost_iterations=status.get("lostIterations", 0),
        started=instants.parse(status.get("startTime")),
        ended=instants.parse(status.get("completionTime")),
        stopped=stopped,
        stopped_message=message,
    )


def attempts(status: Mapping[str, Any]) -> dict[str, int]:
    """The newest attempt of each trial that is shown."""
    listed = {row["name"]: row.get("attempt", 0) for row in status.get("trials") or ()}
    live = dict(status.get("live") or {})
    return listed | {name: int(entry.partition("/")[0]) for name, entry in live.items()}


def term(status: Mapping[str, Any]) -> int:
    """The newest term anybody took for the run; 0 if nobody did."""
    return int((status.get("journal") or {}).get("term", 0))


def render(
    observation: Observation,
    state: RunState,
    facts: RunFacts,
    current: Iterable[Condition],
    previous: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole status."""
    experiment = observation.experiment
    best = _best(state, experiment.spec.objective.mode)
    return {
        "observedGeneration": experiment.generation,
        "conditions": merge(
            previous.get("conditions") or [], list(current), experiment.generation, observation.now
        ),
        "state": word(
            state, deleting=experiment.deleted is not None, suspend=experiment.spec.suspend
        ),
        **_times(state),
        "runID": facts.run_id,
        "journal": {"term": facts.term},
        "storage": {"uri": facts.uri},
        **_sums(state, state.size(observation.total)),
        **listing.listed(state.trials, best),
        **_shown_best(best, facts),
        "live": {trial.name: trial_rows.live(trial) for trial in state.open_attempts},
    }


def outline(
    observation: Observation, current: Iterable[Condition], previous: Mapping[str, Any]
) -> dict[str, Any]:
    """The status while the journal cannot be opened: what was shown stays, conditions move on."""
    experiment = observation.experiment
    return {
        **previous,
        "observedGeneration": experiment.generation,
        "conditions": merge(
            previous.get("conditions") or [], list(current), experiment.generation, observation.now
        ),
        "state": word(
            observation.state,
            deleting=experiment.deleted is not None,
            suspend=experiment.spec.suspend,
        ),
    }


def _times(state: RunState) -> dict[str, Any]:
    times = {
        "startTime": instants.render(state.started),
        "completionTime": instants.render(state.ended),
    }
    return {key: value for key, value in times.items() if value}


def word(state: RunState, *, deleting: bool, suspend: bool) -> str:
    """The state in one word."""
    if state.ended is not None:
        errored = all(trial.phase is Phase.ERRORED for trial in state.trials)
        return "Failed" if errored or state.stopped else "Complete"
    if deleting or state.stopped:
        return "Stopping"
    if suspend:
        return "Suspending" if state.open_attempts else "Suspended"
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
        "infrastructure": sum(trial.infrastructure for trial in state.trials),
        "lostIterations": trial_rows.whole(state.lost_iterations),
    }


def _best(state: RunState, mode: str) -> TrialState | None:
    """max() keeps the first of equals: the earliest trial wins a tie."""
    candidates = [trial for trial in state.trials if rank(trial.objective, mode)[0]]
    return max(candidates, key=lambda trial: rank(trial.objective, mode), default=None)


def _shown_best(best: TrialState | None, facts: RunFacts) -> dict[str, Any]:
    if best is None:
        return {}
    entry: dict[str, Any] = {
        "trial": best.name,
        "objectiveValue": best.objective,
        "iteration": trial_rows.whole(best.iteration),
        **listing.shown(best.config, "config"),
    }
    if best.checkpoint:
        key = facts.keys.trial(best.name).manifest(best.checkpoint.ref)
        entry["checkpoint"] = {
            "uri": f"s3://{facts.bucket}/{key}",
            **trial_rows.checkpoint_fields(best.checkpoint),
        }
    return {"best": entry}
