"""An asyncio loop that runs only while it has something to do, on a clock that the test sets.

The operator's code is the real one, with its tasks, events and time-outs. A turn ends as soon as
every task waits for something that only the test can give: an answer, an event of a watch, time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class StepLoop(asyncio.BaseEventLoop):
    """Nothing is read from sockets and nothing comes from threads; ``time`` is the test's."""

    def __init__(self, time: Callable[[], float]) -> None:
        super().__init__()
        self._test_time = time
        self._selector = self  # what `_run_once` asks for input and output
        self.frozen = False

    def time(self) -> float:
        """The test's clock, in seconds."""
        return self._test_time()

    def turn(self) -> None:
        """Run until nothing is ready; a process that is frozen or dead does not run."""
        if not self.frozen and not self.is_closed():
            self.run_forever()

    def kill(self) -> None:
        """End all tasks where they wait. Whatever they still ask for is asked in vain."""
        if self.is_closed():
            return
        self.frozen = False
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.turn()
        self.close()

    def select(self, timeout: float | None) -> list[Any]:
        """Called when nothing is ready (then ``timeout`` is not 0) and between two rounds."""
        if timeout != 0:
            self.stop()
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There is no input and no output."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""
