"""Saves a trainable: a blocking snapshot, then an upload beside the training.

There is one staging directory, in which the file of a dictionary is used again and again. A
periodic save that finds it in use is skipped and counted; forced saves (asked for, at the end, on a
signal) wait for it.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tune_trainer import state
from tune_trainer.checkpoint import layout
from tune_trainer.checkpoint.commit import commit
from tune_trainer.checkpoint.parallel import Cancelled
from tune_trainer.checkpoint.upload import Uploader, freeze
from tune_trainer.errors import Fenced
from tune_trainer.failure import during
from tune_trainer.progress import Progress, Stopwatch
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.result import Result
from tune_trainer.retry import Retry
from tune_trainer.store.base import Store
from tune_trainer.trainable import Trainable

log = logging.getLogger(__name__)

REMEMBERED = 5
"""Saves whose durations are looked back on."""


class Ledger(Protocol):
    """What the saver shares with the reporter."""

    @property
    def fenced(self) -> bool:
        """Whether this attempt was replaced."""

    def undurable(self) -> tuple[Result, ...]:
        """Results to put into a manifest."""

    def committed(self, ref: CheckpointRef) -> None:
        """A checkpoint exists from now on."""


@dataclass(frozen=True)
class Attempt:
    """Whose checkpoints these are."""

    experiment: str
    trial: str
    number: int
    keys: TrialKeys


@dataclass
class _Upload:
    """A snapshot on its way into the store."""

    ref: CheckpointRef
    thread: threading.Thread | None = None
    error: BaseException | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    took: float = 0.0


class Saver:
    """Used by the training thread alone; its uploads run in threads of their own."""

    def __init__(
        self, attempt: Attempt, store: Store, ledger: Ledger, staging: Path, retry: Retry
    ) -> None:
        self._attempt = attempt
        self._store = store
        self._ledger = ledger
        self._staging = staging
        self._retry = retry
        self._uploader = Uploader(store, retry, lambda: ledger.fenced)
        self._upload: _Upload | None = None
        self._done_iteration: int | None = None
        self.skipped = 0
        """Periodic saves that found the staging directory in use."""
        self.seconds = 0.0
        """Duration of the fastest save so far, 0 before the first."""
        self._recent: deque[float] = deque(maxlen=REMEMBERED)

    def restored(self, iteration: int) -> None:
        """Nothing is committed at the iteration the attempt restored from: it is there already."""
        self._done_iteration = iteration

    def longest(self) -> float | None:
        """Seconds of the longest of the recent saves, until the commit; None before the first."""
        return max(self._recent, default=None)

    def save(
        self, trainable: Trainable, progress: Progress, metrics: Mapping[str, Any], *, forced: bool
    ) -> bool:
        """Save this iteration unless that happened or happens already; whether it now begins.

        Raises what ``save_checkpoint`` raises, and the error of an earlier upload.
        """
        self.check()
        if progress.iteration == self._done_iteration:
            return False
        if self._upload is not None:
            if not forced:
                self.skipped += 1
                log.info("iteration %d is not saved: an upload runs", progress.iteration)
                return False
            self.wait()
        ref = CheckpointRef(self._attempt.number, progress.iteration)
        upload = _Upload(ref)
        self._done_iteration = progress.iteration
        work = self._snapshot(trainable, progress, metrics, ref)
        upload.thread = threading.Thread(
            target=self._run, args=(upload, work), name="uploader", daemon=True
        )
        self._upload = upload
        upload.thread.start()
        return True

    def wait(self) -> None:
        """Until no upload runs; raises the error of the one that ran (Fenced, Unusable)."""
        if self._upload is not None and self._upload.thread is not None:
            self._upload.thread.join()
        self.check()

    def settle(self, seconds: float) -> None:
        """Wait so long for the upload that runs; of any thread, and takes nothing in."""
        upload = self._upload
        if upload is not None and upload.thread is not None:
            upload.thread.join(seconds)

    def check(self) -> None:
        """Take in an upload that has ended; raises its error."""
        upload = self._upload
        if upload is None or upload.thread is None or upload.thread.is_alive():
            return
        self._upload = None
        if upload.error is not None:
            raise upload.error
        self.seconds = min(self.seconds, upload.took) if self.seconds else upload.took
        self._recent.append(upload.took)

    def _snapshot(
        self, trainable: Trainable, progress: Progress, metrics: Mapping[str, Any],
        ref: CheckpointRef,
    ) -> Callable[[], None]:  # fmt: skip
        """The blocking part: the state on disk. Returns the rest as a function."""
        directory = Path(tempfile.mkdtemp(prefix="save-", dir=self._staging)).resolve()
        try:
            with during("save_checkpoint()", self._attempt.trial, ref.iteration):
                saved = state.save(trainable, directory, self._spare)
                freeze(directory)
                objects = layout.plan(layout.scan(directory))
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        counters = progress.to_json()
        kept = dict(metrics)

        def work() -> None:
            try:
                self._store_checkpoint(directory, objects, saved, ref, counters, kept)
            finally:
                self._clear(directory, saved)

        return work

    @property
    def _spare(self) -> Path:
        """File of the last dictionary, to be written over."""
        return self._staging / "spare"

    def _clear(self, directory: Path, saved: state.Saved) -> None:
        if saved.file:
            with contextlib.suppress(OSError):
                (directory / saved.file).rename(self._spare)
        shutil.rmtree(directory, ignore_errors=True)

    def _store_checkpoint(
        self, directory: Path, objects: layout.Layout, saved: state.Saved, ref: CheckpointRef,
        progress: Mapping[str, Any], metrics: Mapping[str, Any],
    ) -> None:  # fmt: skip
        keys = self._attempt.keys
        nonce = secrets.token_hex(8)
        written = self._uploader.write(directory, objects, keys.data(ref, nonce))
        manifest = Manifest(
            experiment=self._attempt.experiment,
            trial=self._attempt.trial,
            ref=ref,
            nonce=nonce,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            kind=saved.kind.value,
            relative=saved.relative,
            metrics=metrics,
            progress=progress,
            files=written.files,
            packs=written.packs,
            results=self._ledger.undurable(),
        )
        # A replaced attempt must not commit; the resume plan ignores it if it does so in this gap.
        if self._ledger.fenced:
            raise Fenced(f"checkpoint {ref} is not committed: the attempt was replaced")
        commit(self._store, keys.manifest(ref), manifest, self._retry)
        log.info("committed checkpoint %s", ref)
        self._ledger.committed(ref)

    def _run(self, upload: _Upload, work: Callable[[], None]) -> None:
        try:
            work()
            upload.took = upload.watch.seconds()
        except Cancelled:
            upload.error = Fenced(f"checkpoint {upload.ref} is not saved: the attempt was replaced")
        except BaseException as error:  # noqa: BLE001 - carried to the training thread
            upload.error = error
