"""Whether this machine is known to end soon: from its cloud's metadata server, or from SIGTERM.

A thread per kind of metadata server asks it; who wants to know only reads what they found. Nobody
waits for them longer than ``FIRST_ANSWER``, and that once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

log = logging.getLogger(__name__)

FIRST_ANSWER = 0.05
"""Seconds the first call waits for the servers' first answers."""

POLL = 1.0
"""Seconds between two questions to a server that answers: notices come 30 s to 2 min ahead."""

LONGEST_PAUSE = 60.0
"""The same to one that never answered, after a while: there is probably none."""


class Silent(Exception):
    """No answer, or none that this kind of metadata server gives."""


class Source(Protocol):
    """One kind of metadata server."""

    name: str

    def ending(self) -> bool:
        """Whether it says now that this machine ends soon; raises Silent."""


def detect_instance_preemption() -> bool:
    """Whether this machine is about to be taken away, as far as it has been told.

    True from SIGTERM on, and while a cloud's metadata server announces the end: preemption or
    termination for maintenance (GCP), a spot interruption (AWS), the scheduled event Preempt or
    Terminate (Azure). Never blocks: the first call takes at most 50 ms, every other one reads a
    flag that is about a second old. False where there is no metadata server, or none is reachable.

    >>> class Digits(Trainable):
    ...     def step(self):
    ...         result = {"accuracy": self.train_epoch()}
    ...         if detect_instance_preemption():
    ...             result["should_checkpoint"] = True
    ...         return result
    """
    return _process.terminating or bool(watch().notice())


def watch() -> Watch:
    """The watch of this process, which begins with the first call."""
    with _process.lock:
        # Threads do not follow into a forked worker: one that asks has a watch of its own.
        if _process.watch is None or _process.pid != os.getpid():
            began = time.monotonic()
            # Late, as it imports TLS, and here: a fork would leave a thread's import half done.
            from tune_trainer import metadata

            _process.pid = os.getpid()
            _process.watch = Watch(metadata.sources(os.environ))
            _process.watch.start(max(0.0, FIRST_ANSWER - (time.monotonic() - began)))
        return _process.watch


def terminating() -> None:
    """SIGTERM came: ``detect_instance_preemption`` is true from now on."""
    _process.terminating = True


class Watch:
    """Asks metadata servers for as long as the process runs."""

    def __init__(
        self, sources: Sequence[Source], poll: float = POLL,
        wait: Callable[[float], bool] | None = None,
    ) -> None:  # fmt: skip
        """``wait`` pauses between two questions, and says whether that was the last one."""
        self._sources = sources
        self._poll = poll
        self._wait = wait or threading.Event().wait
        self._ending: Mapping[str, bool] = {}
        self._unheard = {source.name for source in sources}
        self._changed = threading.Condition()

    def start(self, seconds: float) -> None:
        """Begin, and wait for first answers, but at most so long."""
        for source in self._sources:
            threading.Thread(
                target=self._ask, args=(source,), name=f"metadata-{source.name}", daemon=True
            ).start()
        with self._changed:
            self._changed.wait_for(lambda: not self._unheard or self.notice(), seconds)

    def notice(self) -> str:
        """Name of the cloud that announces the end of this machine, "" while none does."""
        return next((name for name, ending in self._ending.items() if ending), "")

    def _ask(self, source: Source) -> None:
        pause = self._poll
        answered = False
        over = False
        while not over:
            try:
                ending = source.ending()
            except Silent:
                # What it said last stands: a machine that is taken down may lose its server first.
                self._heard(source.name, None)
                pause = self._poll if answered else min(LONGEST_PAUSE, pause * 2)
            else:
                answered = True
                pause = self._poll
                self._heard(source.name, ending)
            over = self._wait(pause)

    def _heard(self, name: str, ending: bool | None) -> None:  # noqa: FBT001 - one of three values
        with self._changed:
            self._unheard.discard(name)
            before = self._ending.get(name, False)
            if ending is not None:
                # Replaced as a whole: it is read without the lock.
                self._ending = {**self._ending, name: ending}
            self._changed.notify_all()
        if ending is not None and ending != before:
            log.info("%s %s", name, _NEWS[ending])


_NEWS = {
    True: "announces the end of this machine",
    False: "no longer announces the end of this machine",
}


class _Process:
    """What belongs to the process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.watch: Watch | None = None
        self.pid = 0
        self.terminating = False


_process = _Process()
