"""Two operator processes, of which one leads; whoever ends is started again, as a Deployment does.

Trainers find the one that leads as through the Service, whose label the leader moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.integration.operator_process import free_port

LEASE_SECONDS = 4
LOOK_SECONDS = 0.3
RESTART_SECONDS = 0.5
LEADING = "tune_operator.kube.leader leading as "
"""What whoever took the Lease writes into its log, followed by an identity of its own."""

BY_ITSELF = "by itself"
AT_THE_END = "at the end"


@dataclass(frozen=True)
class Exit:
    """How a process ended. ``told``: by which signal of ours, if by any."""

    told: str
    code: int | None
    """None: it did not end when told to, and had to be killed."""

    def __str__(self) -> str:
        return f"{self.told}: {self.code}"


class OperatorProcess:
    """One of the two. Its ports stay the same over restarts."""

    def __init__(self, name: str, folder: Path, apiserver: str, namespace: str) -> None:
        self.name = name
        self._namespace = namespace
        self.log = folder / f"operator-{name}.log"
        self.port = free_port()
        self.obs_port = free_port()
        self._kubeconfig = folder / f"operator-{name}.kubeconfig"
        self._kubeconfig.write_text(json.dumps(_kubeconfig(apiserver)))
        self._process: subprocess.Popen[bytes] | None = None
        self._begins = 0
        self.frozen = False
        self.told: signal.Signals | None = None
        """What it will not survive: the signal that ends it, or that makes it lose its Lease."""

    def start(self) -> None:
        """A new process."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            # A cluster that is kept may hold the experiments of a run that was interrupted.
            "TUNE_NAMESPACE": self._namespace,
            "TUNE_WATCH_NAMESPACES": self._namespace,
            "TUNE_SERVICE_URL": f"https://127.0.0.1:{self.port}",
            "TUNE_LISTEN_HOST": "127.0.0.1",
            "TUNE_LISTEN_PORT": str(self.port),
            "TUNE_OBS_PORT": str(self.obs_port),
            "TUNE_LEASE_SECONDS": str(LEASE_SECONDS),
            "TUNE_LOG_LEVEL": "INFO",
            "PYTHONWARNINGS": "error",
        }
        self.told, self.frozen = None, False
        with self.log.open("ab") as output:
            self._begins = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tune_operator"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def send(self, number: signal.Signals) -> None:
        """A signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            if number is not signal.SIGCONT:
                self.told = number
            self._process.send_signal(number)

    def freeze(self) -> None:
        """It stands still, connections and all."""
        self.frozen = True
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on as if no time had passed."""
        self.send(signal.SIGCONT)
        self.frozen = False

    @property
    def unharmed(self) -> bool:
        """Whether it runs and nobody told it to end."""
        return self._process is not None and self.exit_code() is None and self.told is None

    @property
    def led(self) -> bool:
        """Whether this process, not one before it, ever took the Lease."""
        with self.log.open("rb") as log:
            log.seek(self._begins)
            return LEADING.encode() in log.read()

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else None

    def end(self) -> int | None:
        """SIGTERM, and its exit code; None if it had to be killed."""
        if self._process is None:
            return 0
        self.thaw()
        self.send(signal.SIGTERM)
        try:
            return self._process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None


class Operators:
    """Both of them, and who leads."""

    def __init__(self, folder: Path, apiservers: tuple[str, str], namespace: str) -> None:
        self.all = [
            OperatorProcess(name, folder, server, namespace)
            for name, server in zip("ab", apiservers, strict=True)
        ]
        self.leader: OperatorProcess | None = None
        self.exits: Counter[Exit] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Operators]:
        """Run them around the block."""
        for process in self.all:
            process.start()
        self._tasks = [asyncio.ensure_future(self._keep(process)) for process in self.all]
        self._tasks.append(asyncio.ensure_future(self._follow()))
        try:
            yield self
        finally:
            await self.end()

    async def end(self) -> None:
        """Tell both to end, once, and start none again."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.leader = None
        for process in self.all if tasks else ():
            self.exits[Exit(AT_THE_END, await asyncio.to_thread(process.end))] += 1

    @property
    def target(self) -> OperatorProcess | None:
        """The leader, if it is sure that striking it makes another process lead.

        Who was struck already, or was started again meanwhile, is not: it would count twice.
        """
        leader = self.leader
        return leader if leader is not None and leader.unharmed and leader.led else None

    @property
    def standby(self) -> OperatorProcess | None:
        """The one that does not lead, if it runs."""
        others = (each for each in self.all if each is not self.leader)
        return next((each for each in others if each.unharmed), None)

    async def _keep(self, process: OperatorProcess) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            code = process.exit_code()
            if code is not None:
                told = process.told.name if process.told else BY_ITSELF
                self.exits[Exit(told, code)] += 1
                await asyncio.sleep(RESTART_SECONDS)
                process.start()

    async def _follow(self) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                leading = [p for p in self.all if not p.frozen and await _leads(http, p)]
                # For a moment both may think so. Trainers go to the one that was seen last, even if
                # it only woke: connections that it had before do the same.
                self.leader = next((p for p in leading if p is not self.leader), None) or next(
                    iter(leading), None
                )
                await asyncio.sleep(LOOK_SECONDS)


async def _leads(http: aiohttp.ClientSession, process: OperatorProcess) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with http.get(f"http://127.0.0.1:{process.obs_port}/metrics") as answer:
            return "tune_leader 1.0" in await answer.text()
    return False


def _kubeconfig(server: str) -> dict[str, object]:
    """Without credentials: the proxy has them."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "chaos",
        "contexts": [{"name": "chaos", "context": {"cluster": "chaos", "user": "chaos"}}],
        "clusters": [{"name": "chaos", "cluster": {"server": server}}],
        "users": [{"name": "chaos", "user": {}}],
    }
