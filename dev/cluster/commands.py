"""Runs helper programs to their end, with their output in a log, and stops them on request.

Two threads run programs (Go builds and images); when one fails, the other must not go on.
"""

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import ClusterError, last_line


class Cancelled(ClusterError):
    """Another thread failed; its error is the one to show."""


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
        folder: Path | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> str:
        """Run a program; returns its standard output, which also goes to the log.

        Raises:
            ClusterError: it failed; names the log.
            Cancelled: `cancel` was called.
        """
        lines: list[str] = []
        with self._started(command, log, environment, folder, stdin, subprocess.PIPE) as (
            pipe,
            out,
        ):
            for line in pipe:
                lines.append(line)
                out.write(line)
        return "".join(lines)

    def watch(
        self,
        command: Sequence[str],
        log: Path,
        on_line: Callable[[str], None],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Run a program that reports its progress in lines on standard error.

        Raises:
            ClusterError, Cancelled: as `run`.
        """
        with self._started(command, log, environment, folder, subprocess.DEVNULL, None) as (
            pipe,
            out,
        ):
            for line in pipe:
                on_line(line)
                out.write(line)

    @contextmanager
    def _started(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None,
        folder: Path | None,
        stdin: int,
        stdout: int | None,
    ) -> Iterator[tuple[IO[str], IO[str]]]:
        """Run the program around the block that reads its pipe: stdout, or stderr if None."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", buffering=1) as output:
            with self._lock:
                self._check()
                process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=subprocess.DEVNULL if stdout is None else stdout,
                    stderr=subprocess.PIPE if stdout is None else output,
                    text=True,
                    env=environment,
                    cwd=folder,
                )
                self._running.add(process)
            pipe = process.stderr if stdout is None else process.stdout
            assert pipe is not None  # noqa: S101 - one of the two is a pipe
            try:
                yield pipe, output
                process.wait()
            finally:
                self._end(process)
                pipe.close()
        self._check()
        if process.returncode != 0:
            raise ClusterError(f"{Path(command[0]).name} failed: {last_line(log)}", log=log)

    def _check(self) -> None:
        if self._cancelled:
            raise Cancelled("stopped because another step failed")

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
