"""Objects that tests of the checkpoint protocol need, with plain defaults."""

import time
from pathlib import Path
from typing import Any

from tests.unit.trainer.operator_server import ROOT
from tune_trainer import Trainable
from tune_trainer.checkpoint.saver import Attempt, Saver
from tune_trainer.progress import Progress
from tune_trainer.protocol.keys import CheckpointRef, RunKeys
from tune_trainer.protocol.manifest import FileEntry, Manifest
from tune_trainer.protocol.result import Result
from tune_trainer.retry import Retry
from tune_trainer.store.base import Store

KEYS = RunKeys(ROOT).trial("00003")


class FakeTime:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds
        time.sleep(0)  # lets other threads run

    def clock(self) -> float:
        return self.now


def quick_retry(seconds: float = 100.0) -> Retry:
    """Retries that take no real time."""
    fake = FakeTime()
    return Retry(seconds, wait=fake.wait, clock=fake.clock)


class Ledger:
    """What a saver asks the reporter for."""

    def __init__(self) -> None:
        self.fenced = False
        self.results: tuple[Result, ...] = ()
        self.refs: list[CheckpointRef] = []

    def undurable(self) -> tuple[Result, ...]:
        return self.results

    def committed(self, ref: CheckpointRef) -> None:
        self.refs.append(ref)


MARK = "mark"
"""An empty file beside the others: a checkpoint of none at all is refused."""


class Files(Trainable):
    """Its state is a set of files, of none as well."""

    files: dict[str, bytes]
    loaded: dict[str, bytes] | None = None

    def setup(self, config: dict[str, Any]) -> None:
        self.files = {}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, MARK).touch()
        for name, data in self.files.items():
            path = Path(checkpoint_dir, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def load_checkpoint(self, checkpoint: str) -> None:
        self.loaded = read_files(Path(checkpoint))


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path, but for the mark."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MARK
    }


def files(**content: bytes) -> Files:
    trainable = Files()
    trainable.files = dict(content)
    return trainable


def saver(store: Store, ledger: Ledger, staging: Path, *, attempt: int = 1) -> Saver:
    return Saver(Attempt("digits", "00003", attempt, KEYS), store, ledger, staging, quick_retry())


def at(iteration: int) -> Progress:
    return Progress(iteration=iteration, time_total=iteration * 1.5, timesteps_total=7)


def manifest(ref: CheckpointRef, nonce: str, entries: tuple[FileEntry, ...] = ()) -> Manifest:
    return Manifest(
        experiment="digits", trial="00003", ref=ref, nonce=nonce, time="2026-01-01T00:00:00+00:00",
        kind="directory", relative="", metrics={"value": 1}, progress={}, files=entries,
    )  # fmt: skip
