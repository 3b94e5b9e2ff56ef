"""The working copy of one decision: what the steps of `decide` read and change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tune_operator.lifecycle.actions import Action, EmitEvent
from tune_operator.lifecycle.classify import Verdict
from tune_operator.lifecycle.observation import AttemptKey, Observation
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_trainer.protocol.result import Result


@dataclass(frozen=True)
class Decision:
    """The next durable state, and what follows from it once it is journaled and shown.

    ``starts`` are attempts whose Pod is to be created. ``events`` are told once, ``actions`` come
    again at the next look while they are due. ``results`` were taken in by this decision, by
    trial. ``verdicts`` are for log and conditions. ``gone`` says that nothing of a deleted
    experiment is left; ``purge`` that its storage has to go before it. ``urgent`` is False when
    only progress changed, which may wait.
    """

    state: RunState
    starts: tuple[AttemptKey, ...]
    actions: tuple[Action, ...]
    events: tuple[EmitEvent, ...]
    results: dict[str, tuple[Result, ...]]
    verdicts: tuple[tuple[TrialState, Verdict], ...]
    look_again: datetime | None
    urgent: bool
    gone: bool = False
    purge: bool = False


class Draft:
    """Lives for the length of one decision. ``run`` is the state without its trials."""

    def __init__(self, observation: Observation) -> None:
        self.o = observation
        self.experiment = observation.experiment
        self.spec = observation.experiment.spec
        self.run = observation.state
        self.trials = list(observation.state.trials)
        self._open = {trial.name: trial for trial in self.trials if trial.open}
        self.starts: list[AttemptKey] = []
        self.actions: list[Action] = []
        self.events: list[EmitEvent] = []
        self.results: dict[str, tuple[Result, ...]] = {}
        self.verdicts: list[tuple[TrialState, Verdict]] = []
        self.again: datetime | None = None
        self.gone = False
        self.purge = False

    @property
    def open(self) -> list[TrialState]:
        """Trials whose current attempt is not settled."""
        return list(self._open.values())

    @property
    def now(self) -> datetime:
        """The moment of the observation."""
        return self.o.now

    @property
    def late(self) -> bool:
        """Past the bound of a deletion."""
        return self.o.late

    def put(self, trial: TrialState) -> None:
        """Change a trial, or add the next one."""
        if trial.index == len(self.trials):
            self.trials.append(trial)
        else:
            self.trials[trial.index] = trial
        self._open.pop(trial.name, None)
        if trial.open:
            self._open[trial.name] = trial

    def take_in(self, trial: TrialState, results: Sequence[Result]) -> None:
        """Results that become durable with this decision."""
        if results:
            self.results[trial.name] = (*self.results.get(trial.name, ()), *results)

    def look_again(self, when: datetime | None) -> None:
        """Time alone may change something then."""
        if when is not None:
            self.again = min(self.again or when, when)

    @property
    def _in_force(self) -> bool:
        """Whether this version of the specification counts from now on."""
        return self.o.may_record and self.o.state.ended is None

    def decision(self) -> Decision:
        """What came of it."""
        before = self.o.state
        state = replace(
            self.run,
            trials=tuple(self.trials),
            started=before.started or (self.now if self.trials else None),
            generation=self.experiment.in_force if self._in_force else before.generation,
        )
        return Decision(
            state=state,
            # What was about to be created when this very step ended the run is not open any more.
            starts=tuple(key for key in self.starts if key[0] in self._open),
            actions=tuple(self.actions),
            events=tuple(self.events),
            results=self.results,
            verdicts=tuple(self.verdicts),
            look_again=self.again,
            # With the object gone there is no later look that could tell the events.
            urgent=self.gone or _lived(before, state),
            gone=self.gone,
            purge=self.purge,
        )


def _lived(before: RunState, after: RunState) -> bool:
    """Whether more than progress changed. What no step touched is the same object: of thousands
    of trials few are compared.
    """
    if len(before.trials) != len(after.trials):
        return True
    touched = [
        (old, new) for old, new in zip(before.trials, after.trials, strict=True) if old is not new
    ]
    run = replace(after, trials=before.trials, lost_iterations=before.lost_iterations)
    return run != before or any(
        old.without_progress() != new.without_progress() for old, new in touched
    )
