"""The operator as users run it: a process of its own, which a test may kill at any moment."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp

from tests.polling import eventually

READY_SECONDS = 60


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class OperatorProcess:
    """``python -m tune_operator`` against the cluster of KUBECONFIG, watching all namespaces.

    Its ports stay the same over restarts, as its Service would. ``variables`` add to its
    environment.
    """

    def __init__(self, log: Path, **variables: str) -> None:
        self.log = log
        self.variables = variables
        self.port = free_port()
        self.obs_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process; `ready` waits until it leads."""
        environment = {
            **os.environ,
            "TUNE_NAMESPACE": "default",
            "TUNE_SERVICE_URL": f"https://127.0.0.1:{self.port}",
            "TUNE_LISTEN_HOST": "127.0.0.1",
            "TUNE_LISTEN_PORT": str(self.port),
            "TUNE_OBS_PORT": str(self.obs_port),
            "TUNE_LOG_LEVEL": "INFO",
            "PYTHONWARNINGS": "error",
            **self.variables,
        }
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tune_operator"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    async def ready(self) -> None:
        """Wait until this process leads."""
        async with aiohttp.ClientSession() as http:
            await eventually(lambda: self._leads(http), "it leads", READY_SECONDS, self._last_words)

    async def _last_words(self) -> str:
        return self.log.read_text()[-4000:]

    async def _leads(self, http: aiohttp.ClientSession) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, await self._last_words()
        try:
            async with http.get(f"http://127.0.0.1:{self.obs_port}/metrics") as answer:
                return "tune_leader 1.0" in await answer.text()
        except aiohttp.ClientError:
            return False

    async def metric(self, name: str, **labels: str) -> float:
        """A counter or gauge as Prometheus would read it; one with labels is 0 until it counts."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.obs_port}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        series = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        found = f"{name}{{{series}}} " if labels else f"{name} "
        values = [float(line.split()[1]) for line in lines if line.startswith(found)]
        return values[0] if values or not labels else 0.0

    def freeze(self) -> None:
        """It stands still; its connections stay."""
        os.kill(self.pid, signal.SIGSTOP)
        self._soon_expired()

    def thaw(self) -> None:
        """It goes on as if no time had passed."""
        os.kill(self.pid, signal.SIGCONT)

    async def ended(self) -> int:
        """Wait until it ends by itself; the exit code."""
        process = self._process
        assert process is not None
        code = await asyncio.to_thread(process.wait, timeout=READY_SECONDS)
        self._process = None
        return code

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing released."""
        self._end(signal.SIGKILL)
        self._soon_expired()

    def _soon_expired(self) -> None:
        """Let the next one wait a second for the Lease of one that is silent, instead of fifteen.

        A shorter Lease for all would be lost whenever the API server stands still for a moment.
        """
        facts = json.loads(Path(os.environ["KUBECONFIG"]).with_name("cluster.json").read_text())
        name = self.variables.get("TUNE_LEASE_NAME", "tune-operator")
        patch = '--patch={"spec": {"leaseDurationSeconds": 1}}'
        command = ["--namespace=default", "patch", "lease", name, "--type=merge", patch]
        subprocess.run([f"{facts['bin']}/kubectl", *command], check=True, capture_output=True)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(timeout=30)
        self._process = None
        return code
