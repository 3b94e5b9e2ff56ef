"""The fields of a result that are filled in for the user, and which of them survive a restore.

The rules are those of Ray Tune 2.60 (``Trainable.train`` and ``Trainable.restore``): the iteration
and the totals go on from what the checkpoint's result said, what is named ``..._since_restore``
starts again. One differs: a ``training_iteration`` of the user's own has to grow, and is counted on
from, because checkpoints are ordered by it.
"""

from __future__ import annotations

import functools
import math
import os
import platform
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tune_trainer import metrics
from tune_trainer import result as names
from tune_trainer.protocol import fields

Number = int | float


@dataclass
class Progress:
    """Counters of one trial, times in seconds. Totals of steps, episodes are None until used.

    ``timesteps_told`` and ``episodes_told`` are the totals of the last result, where the user may
    have put others: a restore goes on from those.
    """

    iteration: int = 0
    time_total: float = 0.0
    timesteps_total: Number | None = None
    episodes_total: Number | None = None
    iterations_since_restore: int = 0
    time_since_restore: float = 0.0
    timesteps_since_restore: Number = 0
    timesteps_told: Number | None = None
    episodes_told: Number | None = None

    def fill(
        self, reported: Mapping[str, Any], elapsed: float, *, trial_id: str, config: Any
    ) -> dict[str, Any]:
        """Count one iteration and return its result with every automatic field.

        ``elapsed`` is in seconds; a result may override it as ``time_this_iter_s``. Raises
        ValueError for a field that cannot be counted with, and a ``training_iteration`` of the
        user's that does not grow.
        """
        result = dict(reported)
        self._count(result, elapsed)
        result.setdefault(names.DONE, False)
        result[names.TRAINING_ITERATION] = self.iteration
        if self.timesteps_total is not None:
            result.setdefault(names.TIMESTEPS_TOTAL, self.timesteps_total)
        if self.episodes_total is not None:
            result.setdefault(names.EPISODES_TOTAL, self.episodes_total)
        self.timesteps_told = _told(result, names.TIMESTEPS_TOTAL)
        self.episodes_told = _told(result, names.EPISODES_TOTAL)
        if self.timesteps_since_restore:
            result[names.TIMESTEPS_SINCE_RESTORE] = self.timesteps_since_restore
        now = datetime.now().astimezone()
        if not result.get(names.TIMESTAMP):
            result[names.TIMESTAMP] = int(now.timestamp())
        result.update(
            {
                names.TIME_TOTAL_S: self.time_total,
                names.TIME_SINCE_RESTORE: self.time_since_restore,
                names.ITERATIONS_SINCE_RESTORE: self.iterations_since_restore,
                names.DATE: now.strftime("%Y-%m-%d_%H-%M-%S"),
                names.TRIAL_ID: trial_id,
                names.HOSTNAME: platform.node(),
                names.NODE_IP: node_ip(),
                names.PID: os.getpid(),
                names.CONFIG: config,
            }
        )
        return result

    def _count(self, result: dict[str, Any], elapsed: float) -> None:
        spent = _number(result, names.TIME_THIS_ITER_S)
        if spent is None:
            spent = result[names.TIME_THIS_ITER_S] = elapsed
        steps = _number(result, names.TIMESTEPS_THIS_ITER)
        episodes = _number(result, names.EPISODES_THIS_ITER)
        self.iteration = self._next_iteration(_number(result, names.TRAINING_ITERATION))
        self.iterations_since_restore += 1
        self.time_total += spent
        self.time_since_restore += spent
        if steps is not None:
            self.timesteps_total = (self.timesteps_total or 0) + steps
            self.timesteps_since_restore += steps
        if episodes is not None:
            self.episodes_total = (self.episodes_total or 0) + episodes

    def _next_iteration(self, reported: Number | None) -> int:
        """The count, or the user's own number."""
        if reported is None:
            return self.iteration + 1
        if not self.iteration < reported <= fields.LARGEST or reported != int(reported):
            raise ValueError(
                f"the result has {names.TRAINING_ITERATION} {reported} after {self.iteration}: it "
                "must grow with every result and be whole; leave it out to have it counted"
            )
        return int(reported)

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        steps, episodes = self.timesteps_told, self.episodes_told
        return {
            "iteration": self.iteration,
            "timeTotal": self.time_total,
            "timestepsTotal": self.timesteps_total if steps is None else steps,
            "episodesTotal": self.episodes_total if episodes is None else episodes,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.iteration = int(saved["iteration"])
        self.time_total = float(saved["timeTotal"])
        self.timesteps_total = saved["timestepsTotal"]
        self.episodes_total = saved["episodesTotal"]
        self.iterations_since_restore = 0
        self.time_since_restore = 0.0
        self.timesteps_since_restore = 0
        self.timesteps_told = self.episodes_told = None


def _number(result: Mapping[str, Any], name: str) -> Number | None:
    """A number that the SDK counts with; None where there is none. Raises ValueError."""
    value = metrics.plain(result.get(name))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"the result has {name} {value!r}: expected a finite number")
    return value


def _told(result: Mapping[str, Any], name: str) -> Number | None:
    """The total of a result, if one can go on from it; it may be anything of the user's."""
    try:
        return _number(result, name)
    except ValueError:
        return None


class Stopwatch:
    """Seconds since it was made, by a clock that never jumps."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._start


@functools.cache
def node_ip() -> str:
    """Address of this host on its way out; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
