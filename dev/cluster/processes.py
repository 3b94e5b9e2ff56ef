"""Server processes by pid file: start, look, stop. Nothing is ever found by its name."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from .errors import ClusterError, last_line
from .paths import HERE

POLL_SECONDS = 0.05
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Process:
    """What a pid file says. The start time tells a process from a later one with its pid."""

    pid: int
    started: int
    boot: str
    digest: str

    @classmethod
    def read(cls, pid_file: Path) -> "Process | None":
        """The content of a pid file, or None without a readable one."""
        try:
            fields = json.loads(pid_file.read_text())
            return cls(**fields)
        except (OSError, ValueError, TypeError):
            return None

    def alive(self) -> bool:
        """Whether exactly this process still runs; a zombie does not."""
        if self.boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
            return False
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        return fields[0] not in {"Z", "X"} and int(fields[19]) == self.started

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, and SIGKILL after the grace. Returns when the process is gone."""
        try:
            # The descriptor pins the process: alive() after opening it excludes a reused pid.
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
                if not self.alive():
                    return
                signal.pidfd_send_signal(descriptor, number)
                deadline = time.monotonic() + seconds
                while self.alive() and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Component:
    """One server of a cluster. A change of command, environment or files restarts it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    files: Sequence[Path]
    ready: Callable[[], bool]

    def digest(self) -> str:
        """A hash of all that makes a running server differ from the one wanted."""
        state = sha256(json.dumps([list(self.command), dict(self.environment)]).encode())
        for file in self.files:
            state.update(file.read_bytes())
        return state.hexdigest()[:16]


class Processes:
    """The servers of one cluster: pid files in `run`, output in `logs`."""

    def __init__(self, run: Path, logs: Path) -> None:
        self._run = run
        self._logs = logs

    def pid_file(self, name: str) -> Path:
        return self._run / f"{name}.pid"

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def running(self, name: str) -> Process | None:
        """The live process of `name`, or None."""
        process = Process.read(self.pid_file(name))
        return process if process and process.alive() else None

    def names(self) -> list[str]:
        """Every component that has a pid file, whether it is alive or not."""
        return sorted(file.stem for file in self._run.glob("*.pid"))

    def current(self, component: Component) -> bool:
        """Whether exactly this component runs."""
        running = self.running(component.name)
        return running is not None and running.digest == component.digest()

    def ensure(self, component: Component) -> None:
        """Start the component unless the very same one runs already; returns at once."""
        if self.current(component):
            return
        self.stop(component.name)
        self._start(component)

    def _start(self, component: Component) -> None:
        launcher = [sys.executable, "-I", "-S", str(HERE / "launch.py")]
        pid_file = str(self.pid_file(component.name))
        with self.log(component.name).open("ab") as log:
            subprocess.run(
                [*launcher, pid_file, component.digest(), *component.command],
                env={"PATH": os.environ.get("PATH", os.defpath), **component.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._run,
                check=False,  # wait() notices a server that did not start
            )

    def wait(self, component: Component, seconds: float) -> None:
        """Wait until the component answers.

        Raises:
            ClusterError: it ended, or it does not answer within `seconds`; names its log.
        """
        deadline = time.monotonic() + seconds
        log = self.log(component.name)
        while True:
            # First: what answers could be another server that has the port.
            if self.running(component.name) is None:
                raise ClusterError(f"{component.name} ended: {last_line(log)}", log=log)
            if component.ready():
                return
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{component.name} gave no answer for {seconds:.0f} s: {last_line(log)}",
                    log=log,
                )
            time.sleep(POLL_SECONDS)

    def stop(self, name: str) -> None:
        """Stop one component and forget it."""
        if process := Process.read(self.pid_file(name)):
            process.stop()
        self.pid_file(name).unlink(missing_ok=True)
