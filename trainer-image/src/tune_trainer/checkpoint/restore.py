"""Back from a checkpoint: the resume plan in order, every byte verified before any is loaded."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tune_trainer.checkpoint.upload import PARALLEL
from tune_trainer.errors import AttemptFailed
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.exit_record import Reason
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys
from tune_trainer.protocol.manifest import FileEntry, Manifest
from tune_trainer.retry import Retry
from tune_trainer.store.base import NotFound, Store

log = logging.getLogger(__name__)


class Invalid(Exception):
    """A checkpoint that is missing, torn or altered: the next one of the plan is tried."""


@dataclass(frozen=True)
class Restored:
    """A checkpoint whose files are on disk and equal what was saved."""

    manifest: Manifest
    directory: Path


@contextmanager
def fetch(
    store: Store, keys: TrialKeys, plan: tuple[CheckpointRef, ...], staging: Path, retry: Retry
) -> Iterator[Restored]:
    """The first valid checkpoint of a plan that is not empty; its files go away afterwards.

    Raises AttemptFailed (NoValidCheckpoint) when none is valid: starting from scratch would throw
    away what was trained. Raises Unusable when the store does not serve them.
    """
    problems = []
    for ref in plan:
        directory = Path(tempfile.mkdtemp(prefix="restore-", dir=staging))
        try:
            manifest = _manifest(store, keys, ref, retry)
            _download(store, keys.data(manifest.ref, manifest.nonce), manifest, directory, retry)
        except Invalid as problem:
            log.warning("checkpoint %s is not valid: %s", ref, problem)
            problems.append(f"{ref}: {problem}")
            shutil.rmtree(directory)
            continue
        try:
            yield Restored(manifest, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return
    raise AttemptFailed(
        Reason.NO_VALID_CHECKPOINT, "no checkpoint can be restored: " + "; ".join(problems)
    )


def _manifest(store: Store, keys: TrialKeys, ref: CheckpointRef, retry: Retry) -> Manifest:
    key = keys.manifest(ref)
    try:
        manifest = Manifest.from_bytes(retry.run(lambda: store.get(key)))
    except NotFound:
        raise Invalid("its manifest is gone") from None
    except ProtocolError as error:
        raise Invalid(str(error)) from None
    if manifest.ref != ref:
        raise Invalid(f"its manifest is that of {manifest.ref}")
    return manifest


def _download(store: Store, prefix: str, manifest: Manifest, directory: Path, retry: Retry) -> None:
    for entry in manifest.files:
        path = directory / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.truncate(entry.size)
    parts = [
        (entry, number, digest)
        for entry in manifest.files
        for number, digest in enumerate(entry.parts)
    ]
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="restore") as pool:
        futures = [
            pool.submit(_part, store, prefix, entry, number, digest, directory, retry)
            for entry, number, digest in parts
        ]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _part(
    store: Store, prefix: str, entry: FileEntry, number: int, digest: str,
    directory: Path, retry: Retry,
) -> None:  # fmt: skip
    start = number * entry.part_size
    want = min(entry.part_size, entry.size - start)
    key = prefix + entry.path
    try:
        chunk = retry.run(lambda: store.get_range(key, start, want))
    except NotFound:
        raise Invalid(f"{entry.path} is gone") from None
    if chunk.total != entry.size or len(chunk.data) != want:
        raise Invalid(f"{entry.path} has {chunk.total} bytes, {entry.size} were saved")
    if hashlib.sha256(chunk.data).hexdigest() != digest:
        raise Invalid(
            f"{entry.path} part {number + 1} does not have the checksum it was saved with"
        )
    with (directory / entry.path).open("r+b") as file:
        file.seek(start)
        file.write(chunk.data)
