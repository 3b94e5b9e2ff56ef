"""Asynchronous successive halving, with the decisions of Ray Tune 2.60's ASHAScheduler.

A bracket has rungs at gracePeriod times powers of reductionFactor. The first result of a trial at
or beyond a rung enters its value there, and the trial stops if the value is below the cutoff of
those entered before. A result enters one rung, the highest where the trial has no entry yet.

Unlike in Ray, results not newer than a trial's newest iteration do not count; a value that is not
finite ranks last: it is below any cutoff, and no cutoff is made of it; the state can be saved.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from tune_operator.api import scheduler as api
from tune_operator.tuning.errors import MissingMetricError
from tune_operator.tuning.schedulers.base import Decision
from tune_operator.tuning.schedulers.fifo import Fifo
from tune_operator.tuning.streams import draw


class Asha(Fifo):
    """Stops the trials that are behind at a rung; starts them in order."""

    def __init__(self, spec: api.Asha, *, metric: str, mode: str, strict: bool, seed: int) -> None:
        self.reason = ""
        self._spec = spec
        self._metric = metric
        self._sign = 1 if mode == "max" else -1
        self._strict = strict
        self._seed = seed
        self._brackets = [_rungs(spec, bracket) for bracket in range(spec.brackets)]
        self._newest: dict[str, float] = {}

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> Decision:
        """STOP at maxT, and below the cutoff of the rung that the result enters."""
        self.reason = ""
        if missing := self._missing(result):
            if self._strict:
                raise MissingMetricError(trial_id, missing, result)
            return Decision.CONTINUE
        if not self._is_new(trial_id, result):
            return Decision.CONTINUE
        time = result[self._spec.time_attr]
        if time >= self._spec.max_t:
            self.reason = f"ASHA: {self._spec.time_attr} {time:g} reached maxT {self._spec.max_t:g}"
            return Decision.STOP
        return self._enter(trial_id, time, result[self._metric])

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None) -> None:
        """The last value counts at its rung too, unless ``on_result`` has seen it."""
        if result is None or self._missing(result):
            return
        if self._is_new(trial_id, result):
            self._enter(trial_id, result[self._spec.time_attr], result[self._metric])
        self.reason = ""

    def state(self) -> dict[str, Any]:
        """The entries of all rungs, None for values that are not finite."""
        brackets = [[dict(rung.entries) for rung in rungs] for rungs in self._brackets]
        return {"brackets": brackets, "newest": dict(self._newest)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self._newest = dict(state["newest"])
        for rungs, saved in zip(self._brackets, state["brackets"], strict=True):
            for rung, entries in zip(rungs, saved, strict=True):
                rung.load(entries)

    def _missing(self, result: Mapping[str, Any]) -> list[str]:
        return [key for key in (self._spec.time_attr, self._metric) if result.get(key) is None]

    def _is_new(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        iteration = result.get("training_iteration")
        if iteration is None:
            return True
        if iteration <= self._newest.get(trial_id, -math.inf):
            return False
        self._newest[trial_id] = iteration
        return True

    def _enter(self, trial_id: str, time: float, value: float) -> Decision:
        for rung in self._brackets[self._bracket(trial_id)]:
            if time >= rung.milestone and trial_id not in rung.entries:
                cutoff = rung.cutoff()
                count = len(rung.ranked)
                ranked = self._sign * value if math.isfinite(value) else None
                rung.add(trial_id, ranked)
                if cutoff is None or (ranked is not None and ranked >= cutoff):
                    break
                side = "below" if self._sign > 0 else "above"
                self.reason = (
                    f"ASHA rung {rung.milestone:g}: {value:g} {side} cutoff "
                    f"{self._sign * cutoff:g} of {count} values"
                )
                if ranked is None:
                    self.reason = f"ASHA rung {rung.milestone:g}: {value} ranks last"
                return Decision.STOP
        return Decision.CONTINUE

    def _bracket(self, trial_id: str) -> int:
        """By a softmax of the numbers of rungs, as in Ray; the draw depends on the trial alone."""
        if len(self._brackets) == 1:
            return 0
        sizes = [len(rungs) for rungs in self._brackets]
        bounds = list(accumulate(math.exp(size - max(sizes)) for size in sizes))
        share = draw(self._seed, f"bracket/{trial_id}", 0).unit * bounds[-1]
        return next(index for index, bound in enumerate(bounds) if share < bound)


class _Rung:
    """Values entered at a time, larger is better."""

    def __init__(self, milestone: float, factor: float) -> None:
        self.milestone = milestone
        self._share = 1 - 1 / factor
        self.load({})

    def load(self, entries: Mapping[str, float | None]) -> None:
        self.entries = dict(entries)
        self.ranked = sorted(value for value in entries.values() if value is not None)

    def add(self, trial_id: str, value: float | None) -> None:
        self.entries[trial_id] = value
        if value is not None:
            insort(self.ranked, value)

    def cutoff(self) -> float | None:
        """The quantile of numpy's method "linear", to the last bit; None without values."""
        if not self.ranked:
            return None
        place = (len(self.ranked) - 1) * (self._share * 100 / 100)
        index = math.floor(place)
        low, high = self.ranked[index], self.ranked[min(index + 1, len(self.ranked) - 1)]
        share = place - index
        step = high - low
        return high - step * (1 - share) if share >= 0.5 else low + step * share


def _rungs(spec: api.Asha, bracket: int) -> list[_Rung]:
    """From the highest to the lowest; a bracket too many has none."""
    factor = spec.reduction_factor
    count = int(math.log(spec.max_t / spec.grace_period) / math.log(factor) - bracket + 1)
    powers = reversed(range(bracket, bracket + count))
    return [_Rung(spec.grace_period * factor**power, factor) for power in powers]
