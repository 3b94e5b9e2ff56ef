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
from pathlib import Path

import aiohttp

from tests.integration.operator_process import free_port

LEASE_SECONDS = 4
LOOK_SECONDS = 0.3
RESTART_SECONDS = 0.5
KILLED = -signal.SIGKILL


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
        self.frozen = False
        self.asked = False
        """Whether it was told to end."""

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
        self.asked = self.frozen = False
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tune_operator"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def send(self, number: signal.Signals) -> None:
        """A signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.asked = self.asked or number is not signal.SIGCONT
            self._process.send_signal(number)

    def freeze(self) -> None:
        """It stands still, connections and all."""
        self.frozen = True
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on as if no time had passed."""
        self.send(signal.SIGCONT)
        self.frozen = False

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
        self.exits: Counter[str] = Counter()
        self.changes = 0
        self._last: OperatorProcess | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Operators]:
        """Run them around the block."""
        for process in self.all:
            process.start()
        tasks = [asyncio.ensure_future(self._keep(process)) for process in self.all]
        tasks.append(asyncio.ensure_future(self._follow()))
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for process in self.all:
                code = await asyncio.to_thread(process.end)
                self.exits[f"at the end: {code}"] += 1

    @property
    def standby(self) -> OperatorProcess | None:
        """The one that does not lead."""
        return next((each for each in self.all if each is not self.leader), None)

    async def _keep(self, process: OperatorProcess) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            code = process.exit_code()
            if code is not None:
                told = "told to" if process.asked else "by itself"
                self.exits[f"{told}: {'killed' if code == KILLED else code}"] += 1
                await asyncio.sleep(RESTART_SECONDS)
                process.start()

    async def _follow(self) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                leading = [p for p in self.all if not p.frozen and await _leads(http, p)]
                # For a moment both may think so. Trainers go to the one that was seen last, even if
                # it only woke: connections that it had before do the same.
                found = next((p for p in leading if p is not self.leader), None) or next(
                    iter(leading), None
                )
                if found is not None and found is not self._last:
                    self.changes += 1
                    self._last = found
                self.leader = found
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
