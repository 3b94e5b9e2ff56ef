"""Shows each step with its progress and elapsed time.

Steps run in two threads (images are made while Go builds), so a terminal gets one line that is
redrawn with all running steps, and a log file gets a plain line now and then.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

REDRAW_SECONDS = 0.5
REPORT_SECONDS = 15.0


class Step:
    """One running step; `progress` may be set from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.progress = ""
        self.started = time.monotonic()

    def describe(self) -> str:
        elapsed = f"{time.monotonic() - self.started:.0f}s"
        return (
            f"{self.name} ({self.progress}, {elapsed})"
            if self.progress
            else f"{self.name} ({elapsed})"
        )


class Console:
    """Writes progress to stderr, so that stdout stays free for answers such as paths."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[Step] = []
        self._tty = sys.stderr.isatty()
        self._ticker: threading.Thread | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show `name` while the block runs, and how it ended."""
        step = Step(name)
        with self._lock:
            self._running.append(step)
            if not self._tty:
                self._line(f"  ... {name}")
            self._start_ticker()
        outcome = "FAILED"
        try:
            yield step
            outcome = "ok"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            elapsed = time.monotonic() - step.started
            with self._lock:
                self._running.remove(step)
                detail = f"  {step.progress}" if step.progress else ""
                self._line(f"{outcome:>5} {elapsed:6.1f}s  {name}{detail}")

    def say(self, text: str) -> None:
        """Write one line between the steps."""
        with self._lock:
            self._line(text)

    def _line(self, text: str) -> None:
        clear = "\r\033[K" if self._tty else ""
        sys.stderr.write(f"{clear}{text}\n")
        sys.stderr.flush()

    def _start_ticker(self) -> None:
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        while True:
            time.sleep(REDRAW_SECONDS if self._tty else REPORT_SECONDS)
            with self._lock:
                if self._tty and self._running:
                    text = " | ".join(step.describe() for step in self._running)
                    sys.stderr.write(f"\r\033[K  ... {text[:150]}")
                    sys.stderr.flush()
                elif not self._tty:
                    for step in self._running:
                        if time.monotonic() - step.started >= REPORT_SECONDS:
                            self._line(f"  ... {step.describe()}")
