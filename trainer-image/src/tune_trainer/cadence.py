"""When to save so that at most about ``maxLostSeconds`` of training can be lost.

A Pod that is lost takes with it what was trained since the state of the newest committed
checkpoint. Just before the next one is committed that is the time between the two states and the
time that the save takes. An iteration cannot be cut, so the last one that fits is the one to save.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LEAST_SAVES_APART = 2
"""A save begins no sooner after another than twice what it takes: training has half the time."""


def due(since: float, step: float, save: float | None, bound: float) -> bool:
    """Whether to save now, as one more iteration would lose too much. All in seconds.

    ``since`` is the training since the newest saved state, ``step`` and ``save`` what an iteration
    and a save take. Of a save that was never made, half the bound is expected.
    """
    if save is None:
        return since + step + bound / 2 > bound
    return since >= LEAST_SAVES_APART * save and since + step + save > bound


def attainable(step: float, save: float, bound: float) -> bool:
    """Whether the bound can be kept by any choice of ``due``."""
    return LEAST_SAVES_APART * save + step + save <= bound


class Cadence:
    """Used by the training thread alone. Says no more about a bound that cannot be kept than once.

    ``bound`` is ``maxLostSeconds``, 0 for none. ``step`` and ``save`` tell the longest recent
    iteration and save, the latter None before the first was committed.
    """

    def __init__(
        self, bound: float, step: Callable[[], float], save: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._bound = bound
        self._step = step
        self._save = save
        self._clock = clock
        self._newest = clock()
        self._warned = False

    def saved(self) -> None:
        """The present state is on its way into the store."""
        self._newest = self._clock()

    def is_due(self) -> bool:
        """Whether the iteration that has just ended is one to save."""
        if not self._bound:
            return False
        step, save = self._step(), self._save()
        if save is not None and not self._warned and not attainable(step, save, self._bound):
            self._warned = True
            log.warning(
                "spec.checkpoint.maxLostSeconds %.0f cannot be kept: an iteration takes up to "
                "%.1f s and a save %.1f s; saving as often as that allows",
                self._bound, step, save,
            )  # fmt: skip
        return due(self._clock() - self._newest, step, save, self._bound)
