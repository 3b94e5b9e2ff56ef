"""The trainer as a child process, with the environment of a Pod, and what it left in the store."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.trainer.build import KEYS
from tests.unit.trainer.operator_server import TOKEN, WAIT, OperatorServer
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.protocol import environment as env
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.keys import CheckpointRef, parse_manifest_key

TRAINABLES = Path(__file__).parent / "trainables"
NO_METADATA = {f"TUNE_METADATA_{cloud}": "" for cloud in ("GCP", "AWS", "AZURE")}
HASTY = """
import sys
from tune_trainer import runner
from tune_trainer.limits import Limits
runner.Limits = lambda: Limits(cleanup=0.2)
sys.exit(runner.main(sys.argv[1:]))
"""
"""The trainer with less patience for the user's cleanup()."""


class Trainer:
    """Starts trainers of trial 00003 and ends those a test leaves behind."""

    def __init__(self, operator: OperatorServer, folder: Path) -> None:
        self._operator = operator
        self._token = folder / "token"
        self._token.write_text(TOKEN)
        self._tmp = folder / "tmp"
        self._tmp.mkdir()
        self._processes: list[subprocess.Popen[str]] = []

    def environ(self, attempt: int = 1, grace: float = 30.0) -> dict[str, str]:
        """That of the Pod."""
        return {
            **os.environ,
            env.SESSION_URL: self._operator.url,
            env.CA: self._operator.ca,
            env.TOKEN_FILE: str(self._token),
            env.TRIAL: "00003",
            env.ATTEMPT: str(attempt),
            env.GRACE_SECONDS: str(grace),
            env.ACCESS_KEY: "an-access-key",
            env.SECRET_KEY: "a-secret-key",
            "PYTHONPATH": str(TRAINABLES),
            "PYTHONWARNINGS": "error",
            "TMPDIR": str(self._tmp),
            **NO_METADATA,
        }

    def start(
        self,
        entrypoint: str,
        *,
        attempt: int = 1,
        grace: float = 30.0,
        without: str = "",
        program: tuple[str, ...] = ("-m", "tune_trainer"),
        more: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """A running trainer, its environment complete but for ``without``; stderr is a pipe.

        It asks no metadata server of the machine under test; ``more`` may name others.
        """
        environ = {**self.environ(attempt, grace), **(more or {})}
        environ.pop(without, None)
        process = subprocess.Popen(
            [sys.executable, *program, *entrypoint.split()],
            env=environ, cwd=self._tmp, text=True, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def waiting(
        self, entrypoint: str, gate: "Gate", *, after: int, **options: Any
    ) -> subprocess.Popen[str]:
        """A trainer that has reported so many iterations of a gated session, and waits in the next;
        ``options`` are those of ``start``."""
        process = self.start(entrypoint, **options)
        gate.open(*range(1, after + 1))
        self._operator.wait_until(
            lambda: self._operator.received == after and gate.has_begun(after + 1)
        )
        return process

    def run(self, entrypoint: str, *, attempt: int = 1) -> tuple[int, str]:
        """Exit code and stderr of a trainer that ends by itself."""
        process = self.start(entrypoint, attempt=attempt)
        return ended(process)

    def run_without(self, variable: str) -> tuple[int, str]:
        """The same without one variable of the environment."""
        return ended(self.start("counting:Count", without=variable))

    def kill_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def says(process: subprocess.Popen[str], text: str) -> None:
    """Read the log of a running trainer until a line has this text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the trainer ended without saying {text!r}")


def interrupt(process: subprocess.Popen[str], name: str = "SIGTERM") -> None:
    """Send a signal, and wait until the trainer says that it saves for it."""
    process.send_signal(signal.Signals[name])
    says(process, f"{name}: saving")


def ended(process: subprocess.Popen[str], seconds: float = WAIT) -> tuple[int, str]:
    """Exit code and stderr of a process that ends now."""
    _, stderr = process.communicate(timeout=seconds)
    return process.returncode, stderr


def succeeds(process: subprocess.Popen[str], seconds: float = WAIT) -> str:
    """The stderr of a process that ends now, with exit code 0."""
    code, stderr = ended(process, seconds)
    assert code == 0, stderr
    return stderr


def record(s3: S3Server, attempt: int = 1) -> ExitRecord:
    return ExitRecord.from_bytes(s3.store.get(KEYS.exit_record(attempt)))


def has_record(s3: S3Server, attempt: int = 1) -> bool:
    return KEYS.exit_record(attempt) in s3.store.objects


def checkpoints(s3: S3Server) -> list[CheckpointRef]:
    """Committed checkpoints, oldest first."""
    refs = [parse_manifest_key(key) for key in s3.store.objects if "/m/" in key]
    return sorted(ref for ref in refs if ref is not None)


def values(count: int) -> list[int]:
    """What counting.Count reports in an undisturbed run."""
    found, value = [], 0
    for _ in range(count):
        value = value * 3 + 1
        found.append(value)
    return found


class Gate:
    """Lets a trainer's iterations end one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {"start": 0, "gate": str(folder)}

    def open(self, *iterations: int) -> None:
        for iteration in iterations:
            (self.folder / f"open-{iteration}").touch()

    def open_all(self) -> None:
        (self.folder / "open").touch()

    def has_begun(self, iteration: int) -> bool:
        return (self.folder / f"begun-{iteration}").exists()
