"""Trainables that the process tests run; what they do is set by their configuration."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tune_trainer import Trainable, detect_instance_preemption


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


class Careful(Count):
    """Looks out for the end of its machine itself, as in the guides of Ray Tune."""

    def step(self) -> dict[str, Any]:
        result = super().step()
        if detect_instance_preemption():
            result.update(should_checkpoint=True)
        return result


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


class Telling(Trainable):
    """Reports as much as a network that is trained."""

    NAMES = ("train_loss", "validation_loss", "accuracy", "learning_rate", "gradient_norm")

    def step(self) -> dict[str, Any]:
        if "gate" in self.config:
            pass_gate(Path(self.config["gate"]), self.iteration + 1)
        return {"value": self.iteration} | {
            name: (self.iteration + 1) / (3 + place) for place, name in enumerate(self.NAMES)
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"iteration": self.iteration}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert checkpoint == {"iteration": self.iteration}


class Tick(Trainable):
    """Takes no time."""

    def step(self) -> dict[str, Any]:
        return {"value": self.iteration}


class Slow(Count):
    """Each iteration takes a while."""

    def step(self) -> dict[str, Any]:
        result = super().step()
        time.sleep(3.0)
        return result


class Orphans(Count):
    """A child of its worker is left behind, and told in the result; nobody here waits for it."""

    def step(self) -> dict[str, Any]:
        left = subprocess.run(
            ["/bin/sh", "-c", "true & echo $!"], check=True, capture_output=True, text=True
        )
        return super().step() | {"orphan": int(left.stdout)}


class Workers(Count):
    """A forked worker and a program in another one do a part of each iteration."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        self.program = subprocess.Popen(
            ["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.worker = context.Process(target=echo, args=(other,), daemon=True)
        self.worker.start()

    def step(self) -> dict[str, Any]:
        result = super().step()
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write("still here\n")
        assert self.program.stdout.readline() == "still here\n"
        self.pipe.send(result)
        return dict(self.pipe.recv())

    def cleanup(self) -> None:
        self.program.terminate()
        assert self.program.wait() == -signal.SIGTERM
        self.worker.terminate()
        self.worker.join()


def echo(pipe: Connection) -> None:
    """What a worker does."""
    while True:
        pipe.send(pipe.recv())


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
