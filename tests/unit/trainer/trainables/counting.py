"""Trainables that the process tests run; what they do is set by their configuration."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tune_trainer import Trainable


class Count(Trainable):
    """Counts up. Its value depends on all iterations before, as weights do.

    ``gate``: a file per iteration must exist before the iteration ends. ``child``: a child process
    that ignores nothing must survive the trial's signals until cleanup.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.value = config["start"]
        self.gate = config.get("gate")

    def step(self) -> dict[str, Any]:
        if self.gate is not None:
            pass_gate(Path(self.gate), self.iteration + 1)
        self.value = self.value * 3 + 1
        return {"value": self.value}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"value": self.value}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.value = checkpoint["value"]


def pass_gate(folder: Path, iteration: int) -> None:
    """Tell that the iteration has begun, and wait until it may end."""
    (folder / f"begun-{iteration}").touch()
    while not (folder / f"open-{iteration}").exists() and not (folder / "open").exists():
        time.sleep(0.005)


class NeverClean(Count):
    """Its cleanup waits for something that never comes."""

    def cleanup(self) -> None:
        threading.Event().wait()


class Raises(Count):
    """Fails in its third iteration."""

    def step(self) -> dict[str, Any]:
        if self.iteration == 2:
            raise ValueError("the loss is gone")
        return super().step()


class Silent(Count):
    """Reports another metric than the objective."""

    def step(self) -> dict[str, Any]:
        return {"accuracy": 1.0, "losses": {"train": 2.0}}


class Forgetful(Trainable):
    """Cannot save."""

    def step(self) -> dict[str, Any]:
        return {"value": 1}


class Tick(Trainable):
    """Takes no time."""

    def step(self) -> dict[str, Any]:
        return {"value": self.iteration}


class Forks(Count):
    """Ends a forked worker by SIGTERM in each iteration."""

    def step(self) -> dict[str, Any]:
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(worker, signal.SIGTERM)
        _, status = os.waitpid(worker, 0)
        assert os.WTERMSIG(status) == signal.SIGTERM
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        child.terminate()
        assert child.wait() == -signal.SIGTERM
        return super().step()


number = 3
"""No Trainable, and no function either."""
