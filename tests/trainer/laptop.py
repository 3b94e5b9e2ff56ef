"""``python -m tune_trainer --local`` as a process, and what it leaves in its folder."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.polling import soon
from tests.unit.trainer.operator_server import WAIT
from tests.unit.trainer.process import NO_METADATA, TRAINABLES
from tune_trainer.protocol.exit_record import ExitRecord


class Laptop:
    """A folder to work in, with the store in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(TRAINABLES),
            "PYTHONWARNINGS": "error",
            "TMPDIR": str(folder),
            **NO_METADATA,
        }
        self._processes: list[subprocess.Popen[str]] = []

    def command(self, *arguments: str) -> list[str]:
        program = [sys.executable, "-m", "tune_trainer", "--local"]
        return [*program, *arguments, "--storage", str(self.store)]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(*arguments), env=self.environ, cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=WAIT)
        return process.returncode, stdout, stderr

    @property
    def run_folder(self) -> Path:
        [found] = self.store.glob("*/*/")
        return found

    def results(self, attempt: int) -> dict[int, int]:
        """The value of each iteration."""
        # The last line may still be on its way.
        *lines, _ = (self.run_folder / "results.jsonl").read_text().split("\n")
        rows = [json.loads(line) for line in lines]
        return {
            row["metrics"]["training_iteration"]: row["metrics"]["value"]
            for row in rows
            if row["attempt"] == attempt
        }

    def saved(self) -> list[str]:
        """Names of the committed checkpoints, oldest first."""
        found = (self.run_folder / "t/00000/m").glob("*.json")
        return sorted(re.sub("^0*|-0*", "-", path.stem)[1:] for path in found)

    def record(self, attempt: int) -> ExitRecord:
        path = self.run_folder / f"t/00000/x/{attempt:05d}.json"
        return ExitRecord.from_bytes(path.read_bytes())

    def wait_until(self, what: Callable[[], bool]) -> None:
        soon(lambda: what() or None, "the trainer does it", WAIT, lambda: "it did not")

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
