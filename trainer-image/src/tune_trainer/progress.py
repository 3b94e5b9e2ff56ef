"""The fields of a result that are filled in for the user, and which of them survive a restore.

The rules are those of Ray Tune 2.60 (``Trainable.train`` and ``Trainable.restore``): the iteration
and the totals go on counting after a restore, what is named ``..._since_restore`` starts again.
"""

from __future__ import annotations

import functools
import os
import platform
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tune_trainer import result as names


@dataclass
class Progress:
    """Counters of one trial, times in seconds. Totals of steps, episodes are None until used."""

    iteration: int = 0
    time_total: float = 0.0
    timesteps_total: int | None = None
    episodes_total: int | None = None
    iterations_since_restore: int = 0
    time_since_restore: float = 0.0
    timesteps_since_restore: int = 0

    def fill(
        self, reported: Mapping[str, Any], elapsed: float, *, trial_id: str, config: Any
    ) -> dict[str, Any]:
        """Count one iteration and return its result with every automatic field.

        ``elapsed`` is in seconds; a result may override it as ``time_this_iter_s``.
        Raises ValueError for a ``training_iteration`` of the user's that does not grow.
        """
        result = dict(reported)
        self._count(result, elapsed)
        result.setdefault(names.DONE, False)
        result[names.TRAINING_ITERATION] = self.iteration
        if self.timesteps_total is not None:
            result.setdefault(names.TIMESTEPS_TOTAL, self.timesteps_total)
        if self.episodes_total is not None:
            result.setdefault(names.EPISODES_TOTAL, self.episodes_total)
        if self.timesteps_since_restore:
            result[names.TIMESTEPS_SINCE_RESTORE] = self.timesteps_since_restore
        now = datetime.now().astimezone()
        result.setdefault(names.TIMESTAMP, int(now.timestamp()))
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
        if result.get(names.TIME_THIS_ITER_S) is None:
            result[names.TIME_THIS_ITER_S] = elapsed
        spent = float(result[names.TIME_THIS_ITER_S])
        self.iteration = self._next_iteration(result.get(names.TRAINING_ITERATION))
        self.iterations_since_restore += 1
        self.time_total += spent
        self.time_since_restore += spent
        if result.get(names.TIMESTEPS_THIS_ITER) is not None:
            steps = int(result[names.TIMESTEPS_THIS_ITER])
            self.timesteps_total = (self.timesteps_total or 0) + steps
            self.timesteps_since_restore += steps
        if result.get(names.EPISODES_THIS_ITER) is not None:
            episodes = int(result[names.EPISODES_THIS_ITER])
            self.episodes_total = (self.episodes_total or 0) + episodes

    def _next_iteration(self, reported: Any) -> int:
        """The count, or the user's own number: checkpoints are ordered by it, so it must grow."""
        if reported is None:
            return self.iteration + 1
        number = int(reported)
        if number <= self.iteration:
            raise ValueError(
                f"step() returned {names.TRAINING_ITERATION} {number} after {self.iteration}: "
                "it must grow with every result; leave it out to have it counted"
            )
        return number

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "iteration": self.iteration,
            "timeTotal": self.time_total,
            "timestepsTotal": self.timesteps_total,
            "episodesTotal": self.episodes_total,
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
