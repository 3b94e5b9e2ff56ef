"""What the demo reads from a TuneExperiment: its status as values, and what to make of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_trainer.protocol.keys import CheckpointRef

FINISHED = frozenset({"Terminated", "Errored"})


@dataclass(frozen=True)
class Trial:
    """One line of status.trials."""

    name: str
    state: str
    attempt: int
    iteration: int
    value: float | None
    checkpoint: CheckpointRef | None
    params: Mapping[str, Any]
    interruption: Mapping[str, Any]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Trial":
        saved = entry.get("checkpoint")
        return cls(
            name=entry["name"],
            state=entry.get("state", "Pending"),
            attempt=entry.get("attempt", 0),
            iteration=entry.get("iteration", 0),
            value=entry.get("objectiveValue"),
            checkpoint=CheckpointRef(saved["attempt"], saved["iteration"]) if saved else None,
            params=entry.get("params", {}),
            interruption=entry.get("lastInterruption", {}),
        )

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def committed(self) -> int:
        """Iteration of the newest checkpoint this attempt has committed; 0 for none."""
        current = self.checkpoint and self.checkpoint.attempt == self.attempt
        return self.checkpoint.iteration if current and self.checkpoint else 0


@dataclass(frozen=True)
class Experiment:
    """A TuneExperiment as the demo sees it."""

    name: str
    uid: str
    state: str
    done: str
    trials: tuple[Trial, ...]
    best: Mapping[str, Any]
    root: str
    conditions: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Experiment":
        status = raw.get("status", {})
        trials = (Trial.of(entry) for entry in status.get("trials", ()))
        return cls(
            name=raw["metadata"]["name"],
            uid=raw["metadata"]["uid"],
            state=status.get("state", ""),
            done=status.get("done", ""),
            trials=tuple(sorted(trials, key=lambda trial: trial.name)),
            best=status.get("best", {}),
            root=status.get("storage", {}).get("uri", ""),
            conditions={entry["type"]: entry for entry in status.get("conditions", ())},
        )

    def is_true(self, condition: str) -> bool:
        return self.conditions.get(condition, {}).get("status") == "True"

    def trial(self, name: str) -> Trial:
        return next(trial for trial in self.trials if trial.name == name)

    @property
    def running(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.state == "Running")

    @property
    def trouble(self) -> str:
        """Why it cannot go on, as the operator says it; empty when all is well."""
        refused = self.conditions.get("Accepted", {})
        if refused.get("status") == "False":
            return f"not accepted: {refused.get('reason')}: {refused.get('message')}"
        if self.is_true("Failed"):
            failed = self.conditions["Failed"]
            return f"failed: {failed.get('reason')}: {failed.get('message')}"
        return ""


def candidate(experiment: Experiment, *, last_iteration: int) -> Trial | None:
    """The running trial to interrupt: it has a checkpoint to come back to and much left to do."""
    fit = [trial for trial in experiment.running if 0 < trial.committed <= last_iteration // 2]
    return min(fit, key=lambda trial: trial.iteration, default=None)
