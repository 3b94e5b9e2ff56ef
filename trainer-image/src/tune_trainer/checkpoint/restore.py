"""Back from a checkpoint: the resume plan in order, every byte verified before any is loaded."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tune_trainer.checkpoint.parallel import Buffers, Workers, workers
from tune_trainer.errors import AttemptFailed
from tune_trainer.protocol import pack
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.exit_record import Reason
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys
from tune_trainer.protocol.manifest import FileEntry, Manifest, Pack
from tune_trainer.retry import Retry
from tune_trainer.store.base import NotFound, Store

log = logging.getLogger(__name__)


READINGS = 2
"""Times a part is read before it is called altered: it may have happened on the way."""


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
    away what was trained. Raises Unusable when the store does not serve them. What goes wrong here
    or in the ``with`` block, which loads it, gets a note that names the checkpoint.
    """
    problems = []
    for ref in plan:
        directory = Path(tempfile.mkdtemp(prefix="restore-", dir=staging))
        try:
            manifest = _manifest(store, keys, ref, retry)
            _download(store, keys.folder(manifest.data), manifest, directory, retry)
            yield Restored(manifest, directory)
            return
        except Invalid as problem:
            log.warning("checkpoint %s is not valid: %s", ref, problem)
            problems.append(f"{ref}: {problem}")
        except Exception as error:
            error.add_note(f"while checkpoint {ref} of trial {keys.trial} was loaded")
            raise
        finally:
            shutil.rmtree(directory, ignore_errors=True)
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
    if manifest.ref != ref or manifest.trial != keys.trial:
        raise Invalid(f"its manifest is that of {manifest.ref} of trial {manifest.trial}")
    return manifest


def _download(store: Store, prefix: str, manifest: Manifest, directory: Path, retry: Retry) -> None:
    for entry in manifest.files:
        path = directory / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.truncate(entry.size)
    with workers("restore", retry) as pool:
        one = _Download(store, pool, prefix, directory)
        futures = [pool.submit(one.get_pack, entry) for entry in manifest.packs]
        futures += [
            pool.submit(one.get_part, entry, number, digest)
            for entry in manifest.files
            for number, digest in enumerate(entry.parts)
        ]
        pool.results(futures)


class _Download:
    """One checkpoint on its way back."""

    def __init__(self, store: Store, pool: Workers, prefix: str, directory: Path) -> None:
        self._store = store
        self._pool = pool
        self._prefix = prefix
        self._directory = directory
        self._buffers = Buffers()

    def get_part(self, entry: FileEntry, number: int, digest: str) -> None:
        """One part into its place in the file."""
        start = number * entry.part_size
        with self._buffers.lend(min(entry.part_size, entry.size - start)) as data:
            self._read(entry.path, start, data, entry.size, digest)
            with (self._directory / entry.path).open("r+b") as file:
                file.seek(start)
                file.write(data)

    def get_pack(self, entry: Pack) -> None:
        """All files of one pack."""
        with self._buffers.lend(entry.size) as data:
            self._read(entry.name, 0, data, entry.size, entry.sha256)
            try:
                for member, content in pack.unpack(data):
                    self._put(member.path, content)
            except ProtocolError as error:
                raise Invalid(f"{entry.name}: {error}") from None

    def _put(self, path: str, content: memoryview) -> None:
        place = self._directory / path
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            file.write(content)

    def _read(self, name: str, start: int, data: memoryview, size: int, digest: str) -> None:
        """Fill the buffer from an object with what was saved there; raises Invalid."""
        key = self._prefix + name
        for _ in range(READINGS):
            try:
                found = self._pool.ask(lambda: self._store.read_into(key, start, data))
            except NotFound:
                raise Invalid(f"{name} is gone") from None
            if found.total != size or found.count != len(data):
                raise Invalid(f"{name} has {found.total} bytes, {size} were saved")
            if hashlib.sha256(data).hexdigest() == digest:
                return
        raise Invalid(f"{name} at byte {start} does not have the checksum it was saved with")
