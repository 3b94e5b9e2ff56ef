"""From a signal to the end of the process, in the grace that the kubelet gives.

The training thread ends the current iteration and saves. It cannot be interrupted, so a thread of
its own watches the clock: when the iteration cannot end in time, or did not, it gives the attempt
up where it stands. What a signal means before and after the training is decided here as well.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from tune_trainer import preemption
from tune_trainer.departure import exit_now
from tune_trainer.protocol.environment import EXIT_UNUSABLE

log = logging.getLogger(__name__)

SECOND_SIGINT = 130
"""Exit code of a process that the terminal interrupted (128 + SIGINT)."""

LONGEST_RESERVE = 10.0
"""Seconds of the grace kept for the exit record; of a short grace, a quarter."""


class Phase(Enum):
    """How far the process is; it only moves on."""

    WAITING = auto()  # no session: there is nowhere to write a record to
    STARTING = auto()  # restoring: there is nothing new to save
    TRAINING = auto()
    ENDED = auto()  # the record is written


class Steps(Protocol):
    """What the training thread tells about its pace."""

    def shortest_remaining(self) -> float:
        """Seconds until the running iteration can be over and saved, at best."""


class Interruption:
    """One per process. ``give_up`` writes the exit record and says with which code to exit.

    ``leave`` ends the process at once, without waiting for any thread.
    """

    def __init__(self, grace: float, leave: Callable[[int], object] = exit_now) -> None:
        self._grace = grace
        self._leave = leave
        self._lock = threading.Lock()
        self._phase = Phase.WAITING
        self._code = EXIT_UNUSABLE
        self._interrupts = 0
        self._give_up: Callable[[str, float], int] | None = None
        self._steps: Steps | None = None
        self._settle: Callable[[float], object] = lambda _seconds: None
        self._deadline: float | None = None
        self._hurry: Callable[[], None] = lambda: None
        self.requested = threading.Event()
        """Set by the first signal."""
        self.signal = ""
        """Name of the first signal."""
        self.announced: Callable[[], str] = lambda: ""
        """Says who announces that a signal will come; "" while nobody does."""

    def starting(self, give_up: Callable[[str, float], int], hurry: Callable[[], None]) -> None:
        """There is a session. ``give_up`` gets the signal and the seconds it may take."""
        with self._lock:
            self._give_up = give_up
            self._hurry = hurry
            self._phase = Phase.STARTING

    def training(
        self, steps: Steps, settle: Callable[[float], object] = lambda _seconds: None
    ) -> None:
        """From now on there is something to save. ``settle`` waits so long for a running upload."""
        with self._lock:
            self._steps = steps
            self._settle = settle
            self._phase = Phase.TRAINING

    def ended(self, code: int) -> None:
        """The record is written: a signal now ends what is left, with this code."""
        with self._lock:
            self._phase = Phase.ENDED
            self._code = code

    def notice(self, name: str) -> None:
        """Take in a signal; called from the watching thread, which must not be held up."""
        if name == "SIGTERM":
            preemption.terminating()
        self._interrupts += name == "SIGINT"
        if self._interrupts > 1:
            self._leave(SECOND_SIGINT)
            return
        with self._lock:
            phase, first = self._phase, not self.requested.is_set()
        if phase in {Phase.WAITING, Phase.ENDED}:
            log.info("%s: exiting", name)
            self._leave(self._code)
            return
        if not first:
            return
        self.signal = name
        self._deadline = time.monotonic() + self._grace - self._reserve
        self.requested.set()
        self._hurry()
        log.info("%s: saving and exiting within %.0f s", name, self._grace)
        threading.Thread(target=self._watch_clock, name="grace", daemon=True).start()

    def seconds_left(self) -> float:
        """What a save may take from now on; without end while no signal came."""
        return math.inf if self._deadline is None else self._deadline - time.monotonic()

    @property
    def _reserve(self) -> float:
        return min(LONGEST_RESERVE, self._grace / 4)

    def _watch_clock(self) -> None:
        """Wait for the training thread as long as that can help, then end the process."""
        start = time.monotonic()
        if self._phase is Phase.TRAINING and self._steps is not None:
            available = self._grace - self._reserve
            shortest = self._steps.shortest_remaining()
            if shortest <= available:
                time.sleep(available)
            else:
                log.warning(
                    "the iteration takes at least %.1f s more, %.1f s are left: not waiting for it",
                    shortest, available,
                )  # fmt: skip
                self._settle(available)  # the iteration before may be on its way
        if self._phase is Phase.ENDED or self._give_up is None:
            self._leave(self._code)  # what hangs after the record is written matters to nobody
            return
        left = self._grace - (time.monotonic() - start)
        self._leave(self._give_up(self.signal, max(left - 1.0, left / 2)))
