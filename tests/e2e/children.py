"""A trainable with children of all kinds, for the trainer image's process 1."""

import multiprocessing
import os
import subprocess
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tune_trainer import Trainable


class Children(Trainable):
    """Each iteration needs its worker and leaves an orphan behind, which must not stay a zombie.

    A write outside the scratch folder must fail; the folder itself must take one.
    """

    def setup(self, config: dict[str, Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        context.Process(target=echo, args=(other,), daemon=True).start()
        Path(os.environ["TMPDIR"], "written").touch()
        try:
            Path("/written").touch()
        except OSError:
            return
        raise RuntimeError("the root file system can be written")

    def step(self) -> dict[str, Any]:
        time.sleep(0.2)
        command = ["/bin/sh", "-c", "sleep 0.01 & echo $!"]
        orphan = int(subprocess.run(command, check=True, capture_output=True).stdout)
        deadline = time.monotonic() + 20
        while Path(f"/proc/{orphan}").exists():
            if time.monotonic() > deadline:
                raise RuntimeError(Path(f"/proc/{orphan}/status").read_text())
            time.sleep(0.01)
        self.pipe.send(self.iteration)
        return {"mean_accuracy": self.pipe.recv(), "uid": os.getuid(), "init": init()}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """There is no state."""


def echo(pipe: Connection) -> None:
    """What the worker does."""
    while True:
        pipe.send(pipe.recv())


def init() -> int:
    """1 when process 1 is the trainer's own small parent, which has nothing but to reap."""
    return int(b"tune_trainer" in Path("/proc/1/cmdline").read_bytes() and os.getppid() == 1)
