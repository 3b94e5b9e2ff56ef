"""How a local trial shows itself: a line with a bar on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from tune_trainer import metrics
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.messages import SessionResponse
from tune_trainer.protocol.result import Result

BAR = 20
"""Characters of the bar."""

APART = 1.0
"""Seconds between two lines where there is no terminal."""

CLEAR = "\r\x1b[K"


class Display:
    """Written to by the reporter's thread and by every thread that logs."""

    def __init__(
        self, session: SessionResponse, stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._session = session
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: Result | None = None
        self._saved: CheckpointRef | None = None
        self._shown = ""
        self._told = ""
        self._told_at: float | None = None
        self.best: tuple[float, int] | None = None
        """Value of the objective and iteration of the best result of this attempt."""

    def results(self, results: Sequence[Result]) -> None:
        """New ones, oldest first."""
        with self._lock:
            self._newest = results[-1]
            for result in results:
                self._compare(result)
            self._show()

    def saved(self, refs: Sequence[CheckpointRef]) -> None:
        """Committed checkpoints, maybe known already."""
        with self._lock:
            if refs:
                self._saved = max(refs)
                self._show()

    def note(self, text: str) -> None:
        """A line of its own."""
        with self._lock:
            shown = CLEAR if self._shown else ""
            self._stream.write(f"{shown}{text}\n{self._shown}")
            self._stream.flush()

    def close(self) -> None:
        """The last state stays; nothing is drawn any more. Of any thread, and waits for none."""
        locked = self._lock.acquire(timeout=1.0)
        try:
            if self._shown:
                self._stream.write("\n")
                self._shown = ""
            elif self._newest is not None and self.line() != self._told:
                self._stream.write(self.line() + "\n")
            self._newest = None
            self._stream.flush()
        finally:
            if locked:
                self._lock.release()

    def line(self) -> str:
        """What is known now."""
        if self._newest is None:
            return ""
        parts = [self._iterations(self._newest.iteration)]
        metric = self._session.metric
        value = metrics.number(self._newest.metrics, metric)
        if metric != "training_iteration" and value is not None:
            parts.append(f"{metric} {value:.6g}")
            if self.best is not None:
                parts.append(f"best {self.best[0]:.6g} (iteration {self.best[1]})")
        took = metrics.number(self._newest.metrics, "time_this_iter_s")
        if took is not None:
            parts.append(f"{took:.3g} s each")
        if self._saved is not None:
            parts.append(f"saved {self._saved.iteration}")
        return "  ".join(parts)

    def _iterations(self, done: int) -> str:
        total = self._session.criteria.get("training_iteration")
        if not total or total < 1:
            return f"iteration {done}"
        count = f"iteration {done}/{total:.0f}"
        if not self._live:
            return count
        full = min(BAR, int(BAR * done / total))
        return f"[{'#' * full}{'.' * (BAR - full)}] {count}"

    def _compare(self, result: Result) -> None:
        value = metrics.number(result.metrics, self._session.metric)
        if value is None or value != value:  # noqa: PLR0124 - NaN is never best
            return
        sign = 1 if self._session.mode == "max" else -1
        if self.best is None or sign * value > sign * self.best[0]:
            self.best = value, result.iteration

    def _show(self) -> None:
        line = self.line()
        if not line:
            return
        if self._live:
            self._shown = line[: shutil.get_terminal_size().columns - 1]
            self._stream.write(CLEAR + self._shown)
        elif self._told_at is None or self._clock() - self._told_at >= APART:
            self._told, self._told_at = line, self._clock()
            self._stream.write(line + "\n")
        self._stream.flush()


class DisplayHandler(logging.Handler):
    """Log lines above the line of the display."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self._display.note(self.format(record))
