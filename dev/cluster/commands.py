"""Runs helper programs to their end, with their output in a log, and stops them on request.

Two threads run programs (Go builds and images); when one fails, the other must not go on.
"""

import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ClusterError


class Cancelled(ClusterError):
    """The other thread failed; its error is the one to show."""


class Commands:
    """The programs of one invocation that run right now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._cancelled = False

    def run(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> str:
        """Run a program; returns its standard output, which also goes to the log.

        Raises:
            ClusterError: it failed; names the log.
            Cancelled: `cancel` was called.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as output:
            process = self._start(command, output.fileno(), environment, stdin)
            try:
                answer, _ = process.communicate()
            finally:
                self._end(process)
            output.write(answer)
        if self._cancelled:
            raise Cancelled("stopped because another step failed")
        if process.returncode != 0:
            raise ClusterError(f"{' '.join(command[:4])} ... failed", log=log)
        return answer

    def _start(
        self,
        command: Sequence[str],
        errors: int,
        environment: Mapping[str, str] | None,
        stdin: int,
    ) -> "subprocess.Popen[str]":
        with self._lock:
            if self._cancelled:
                raise Cancelled("stopped because another step failed")
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
            self._running.add(process)
            return process

    def _end(self, process: "subprocess.Popen[str]") -> None:
        if process.poll() is None:
            process.terminate()
            process.wait()
        with self._lock:
            self._running.discard(process)

    def cancel(self) -> None:
        """Stop what runs, and refuse to start more."""
        with self._lock:
            self._cancelled = True
            for process in self._running:
                process.terminate()
