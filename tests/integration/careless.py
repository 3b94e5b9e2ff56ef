"""Breaks rules of checkpoints, one in an attempt's process, which the kill loop must notice.

The patches are as small as the rule and hit the SDK's own code.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.integration import doomed
from tests.unit.trainer.memory_store import MemoryStore
from tune_trainer.checkpoint import commit, restore, saver
from tune_trainer.checkpoint.layout import Layout
from tune_trainer.checkpoint.upload import Uploader, Written
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.retry import Retry
from tune_trainer.store.base import Store

COMMIT = commit.commit
WRITE = Uploader.write
SAID = doomed.Reporter.committed


def acknowledge_before_the_commit() -> None:
    """The checkpoint is told of, then its manifest is written."""
    later: list[tuple[Any, ...]] = []

    def committed(self: doomed.Reporter, ref: CheckpointRef) -> None:
        SAID(self, ref)
        COMMIT(*later.pop())

    patch(saver, "commit", lambda *manifest: later.append(manifest))
    patch(doomed.Reporter, "committed", committed)


def manifest_before_data() -> None:
    """The checksums are computed, the manifest is written, then the data."""
    later: list[tuple[Any, ...]] = []

    def compute(self: Uploader, directory: Path, layout: Layout, prefix: str) -> Written:
        later.append((self, directory, layout, prefix))
        return WRITE(Uploader(MemoryStore(), Retry(60), lambda: False), directory, layout, prefix)

    def commit(*manifest: Any) -> None:
        COMMIT(*manifest)
        WRITE(*later.pop())

    patch(Uploader, "write", compute)
    patch(saver, "commit", commit)


def restore_without_verification() -> None:
    """What is read is loaded, whatever it is."""

    def read(
        self: restore._Download, name: str, start: int, data: memoryview, size: int, digest: str
    ) -> None:
        self._pool.ask(lambda: self._store.read_into(self._prefix + name, start, data))

    patch(restore._Download, "_read", read)


def overwrite_what_is_committed() -> None:
    """The manifest is written whether or not there is one."""

    def commit(store: Store, key: str, manifest: Manifest, retry: Retry) -> None:
        retry.run(lambda: store.put(key, manifest.to_bytes()))

    patch(saver, "commit", commit)


def commit_what_was_restored() -> None:
    """The iteration that an attempt restored from is saved once more."""
    patch(saver.Saver, "restored", lambda self, iteration: None)


def patch(owner: Any, name: str, value: Any) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, value)


BROKEN: Mapping[str, Callable[[], None]] = {
    rule.__name__: rule
    for rule in (
        acknowledge_before_the_commit,
        manifest_before_data,
        restore_without_verification,
        overwrite_what_is_committed,
        commit_what_was_restored,
    )
}
