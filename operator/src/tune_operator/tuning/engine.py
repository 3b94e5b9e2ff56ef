"""The engine: one per experiment, between searcher, scheduler and whoever runs trials.

Pure and synchronous. Its state is JSON, and with the same calls it makes the same decisions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tune_operator.tuning.directives import Continue, Directive, Finished, Suggestion, Wait
from tune_operator.tuning.schedulers import Decision, Scheduler
from tune_operator.tuning.search import Searcher
from tune_trainer.protocol.keys import trial_name


class Engine:
    """Suggests trials in order and answers their results."""

    def __init__(self, searcher: Searcher, scheduler: Scheduler) -> None:
        self._searcher = searcher
        self._scheduler = scheduler
        self._suggested = 0

    def suggest(self) -> Suggestion | Wait | Finished:
        """The next trial. Finished may turn into a Suggestion when numSamples was raised."""
        if self._suggested >= self._searcher.total:
            return Finished()
        index = self._suggested
        suggestion = Suggestion(trial_name(index), self._searcher.config(index))
        self._scheduler.on_trial_add(suggestion.trial_id, suggestion.config)
        self._suggested += 1
        return suggestion

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> Directive:
        """A trial reported; what it shall do."""
        match self._scheduler.on_result(trial_id, result):
            case Decision.CONTINUE:
                return Continue()
            case Decision.STOP:  # of schedulers that the API does not offer yet
                raise ValueError(f"trial {trial_id} cannot be stopped: {self._scheduler.reason}")

    def on_complete(
        self,
        trial_id: str,
        result: Mapping[str, Any] | None,
        error: bool,  # noqa: FBT001 - as Ray's searchers and schedulers are told
    ) -> None:
        """A trial reached its end, or was given up (``error``)."""
        if error:
            self._scheduler.on_error(trial_id)
        else:
            self._scheduler.on_complete(trial_id, result)

    def choose_next(self, candidates: Collection[str]) -> str | None:
        """Which of these pending or paused trials to start next; None for none of them."""
        return self._scheduler.choose_next(candidates)

    def state(self) -> dict[str, Any]:
        """All that ``load`` needs, as JSON."""
        return {"suggested": self._suggested, "scheduler": self._scheduler.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._suggested = int(state["suggested"])
        self._scheduler.load(state["scheduler"])
