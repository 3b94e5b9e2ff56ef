"""Runs kubectl, helm and the cluster tool; everything they say goes into the demo's log."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from dev.demo.errors import StepFailed

COMMAND_SECONDS = 330
LAST_LINES = 12


class Shell:
    """Commands with one environment and one log file."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self.environment = dict(environment)

    def note(self, text: str) -> None:
        """Write into the log only."""
        with self.log.open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def run(self, *command: str, stdin: str | None = None, seconds: float = COMMAND_SECONDS) -> str:
        """Standard output of a command; StepFailed with its last words when it fails or hangs."""
        self.note(f"$ {' '.join(command)}")
        try:
            done = subprocess.run(
                command,
                input=stdin if stdin is not None else "",
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"{_short(command)} gave no answer within {seconds:.0f} s") from None
        except FileNotFoundError:
            raise StepFailed(f"{command[0]} is not installed here") from None
        self.note(done.stderr + (done.stdout if len(done.stdout) < 4000 else "(long output)"))
        if done.returncode != 0:
            raise StepFailed(f"{_short(command)}: {_last(done.stderr or done.stdout)}")
        return done.stdout

    def show(self, *command: str) -> None:
        """Run a command that reports its own progress on the terminal."""
        self.note(f"$ {' '.join(command)} (on the terminal)")
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise StepFailed(f"{_short(command)} failed, its messages are above")

    def json(self, *command: str, stdin: str | None = None) -> dict[str, Any]:
        """What a command prints as one JSON object; an empty one when it prints nothing."""
        return cast(dict[str, Any], json.loads(self.run(*command, stdin=stdin) or "{}"))

    @contextmanager
    def background(self, *command: str) -> Iterator["subprocess.Popen[str]"]:
        """A command that runs as long as the block; ended at its end. Its output can be read."""
        self.note(f"$ {' '.join(command)} &")
        with self.log.open("a") as log:
            process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def _short(command: Sequence[str]) -> str:
    return f"`{' '.join(Path(command[0]).name if i == 0 else w for i, w in enumerate(command))}`"


def _last(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-LAST_LINES:])
