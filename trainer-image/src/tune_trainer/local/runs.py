"""Runs in a folder: ``<storage>/<entry point>/<run>/``, laid out below as in a bucket.

Beside the trial's objects lie ``run.json`` (what the run began with), ``results.jsonl`` (every
result, a line each) and ``lock``, which the process that trains holds.
"""

from __future__ import annotations

import dataclasses
import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tune_trainer.local.command import Command, Wrong
from tune_trainer.protocol import VERSION, fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, parse_manifest_key, trial_name
from tune_trainer.protocol.messages import SessionResponse, StorageInfo
from tune_trainer.store.base import NotFound
from tune_trainer.store.folder import FolderStore

TRIAL = trial_name(0)
NAMESPACE = "local"


@dataclass(frozen=True)
class Settings:
    """What a run is about; kept in its ``run.json``."""

    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    criteria: Mapping[str, float] = dataclasses.field(default_factory=dict)
    metric: str = "training_iteration"
    mode: str = "max"
    frequency: int = 0
    max_lost_seconds: int = 0
    at_end: bool = False

    def changed(self, command: Command) -> Settings:
        """With what a command says."""
        names = [field.name for field in dataclasses.fields(self)]
        said = {name: getattr(command, name) for name in names}
        return dataclasses.replace(
            self, **{name: value for name, value in said.items() if value is not None}
        )


@dataclass(frozen=True)
class Run:
    """One run whose lock this process holds. ``plan``: checkpoints to go on from, best first."""

    store: FolderStore
    folder: Path
    root: str
    name: str
    attempt: int
    settings: Settings
    plan: tuple[CheckpointRef, ...] = ()

    @property
    def session(self) -> SessionResponse:
        """What an operator would answer."""
        settings = self.settings
        return SessionResponse(
            experiment=self.name,
            experiment_uid=self.folder.name,
            namespace=NAMESPACE,
            run_id=self.folder.name,
            trial=TRIAL,
            attempt=self.attempt,
            config=settings.config,
            metric=settings.metric,
            mode=settings.mode,
            criteria=settings.criteria,
            frequency=settings.frequency,
            max_lost_seconds=settings.max_lost_seconds,
            at_end=settings.at_end,
            plan=self.plan,
            storage=StorageInfo("file://", "", NAMESPACE, self.root),
        )


@contextmanager
def opened(command: Command) -> Iterator[Run]:
    """A new run, or the one to go on with. Raises Wrong, StoreError."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", command.entrypoint)
    store = FolderStore(command.storage)
    place = command.storage / name
    folder = _newest(place, store, name) if command.resume else _new_folder(place)
    with _locked(folder):
        root = f"{name}/{folder.name}"
        run = Run(store, folder, root, name, 1, Settings().changed(command))
        if command.resume:
            run = _resumed(run, command)
        _keep(run)
        yield run


def checkpoints(store: FolderStore, root: str) -> list[CheckpointRef]:
    """Committed ones, newest first: those of the newest attempt, then what it began from."""
    keys = store.keys(RunKeys(root).trial(TRIAL).manifests())
    refs = [parse_manifest_key(key) for key in keys]
    return sorted((ref for ref in refs if ref is not None), reverse=True)


def _new_folder(place: Path) -> Path:
    """Named by the time, so that the newest comes last."""
    stem = datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 100):
        folder = place / (stem if number == 1 else f"{stem}_{number:02d}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise Wrong(f"--storage: {error}") from None
        return folder
    raise Wrong(f"--storage: too many runs begin in {place} in this second")


def _newest(place: Path, store: FolderStore, name: str) -> Path:
    """The newest run with a checkpoint."""
    runs = sorted(path for path in place.glob("*/") if (path / "run.json").is_file())
    for folder in reversed(runs):
        if checkpoints(store, f"{name}/{folder.name}"):
            return folder
    what = f"none of the {len(runs)} runs in {place} has a checkpoint" if runs else (
        f"there is no run in {place}"
    )  # fmt: skip
    raise Wrong(f"--resume: nothing to go on from: {what}; start without --resume")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A record lock: it goes with this process, and no worker of a killed one still holds it."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Wrong(f"another process trains the run {folder}") from None
        yield


def _resumed(run: Run, command: Command) -> Run:
    path = run.folder / "run.json"
    try:
        document = fields.load(run.store.get(f"{run.root}/run.json"), str(path))
        began = fields.whole(document, "attempt", str(path))
        kept = Settings(**fields.need(document, "settings", dict, str(path)))
    except (NotFound, ProtocolError, TypeError) as error:
        raise Wrong(f"--resume: {error}") from None
    if command.config is not None and command.config != kept.config:
        raise Wrong(
            f"--resume: {run.folder} began with another configuration, {dict(kept.config)}: "
            "leave out --config, or start without --resume"
        )
    run.store.sweep(run.root)
    plan = checkpoints(run.store, run.root)
    return dataclasses.replace(
        run,
        attempt=1 + max(began, *(ref.attempt for ref in plan)),
        settings=kept.changed(command),
        plan=tuple(plan),
    )


def _keep(run: Run) -> None:
    settings = dataclasses.asdict(run.settings)
    document = {"version": VERSION, "attempt": run.attempt, "settings": settings}
    run.store.put(f"{run.root}/run.json", fields.dump(document))
