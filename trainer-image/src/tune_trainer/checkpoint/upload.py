"""Data files into the store: in parts, in parallel, with a checksum for each part."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tune_trainer.protocol.manifest import PART_SIZE, FileEntry
from tune_trainer.retry import Retry
from tune_trainer.store.base import MultipartUpload, Store

PARALLEL = 4
"""Parts in flight; each holds one part in memory."""

MOST_PARTS = 10_000
"""What S3 allows for one object; larger files get larger parts."""


def freeze(directory: Path) -> None:
    """Replace links by what they point at: the target may change while the upload runs."""
    for folder, folders, names in os.walk(directory):
        for path in (Path(folder) / name for name in [*folders, *names]):
            if not path.is_symlink():
                continue
            target = path.resolve(strict=True)
            path.unlink()
            if target.is_dir():
                shutil.copytree(target, path)
            else:
                shutil.copyfile(target, path)


def upload_directory(
    store: Store, directory: Path, prefix: str, retry: Retry, stopped: Callable[[], bool]
) -> tuple[FileEntry, ...]:
    """Write every file below ``directory`` to ``prefix`` + its relative path.

    Raises Unusable. Parts that have not begun when ``stopped`` turns true raise InterruptedError.
    """
    files = [_plan(path, directory) for path in sorted(_walk(directory))]
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="upload") as pool:
        uploads = [_FileUpload(store, file, prefix, retry, stopped) for file in files]
        parts = [upload.start(pool) for upload in uploads]
        try:
            return tuple(
                upload.finish(futures) for upload, futures in zip(uploads, parts, strict=True)
            )
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    size: int
    part_size: int

    @property
    def parts(self) -> int:
        return -(-self.size // self.part_size)


class _FileUpload:
    """One file on its way. An empty file has no parts and needs no object."""

    def __init__(
        self, store: Store, file: _File, prefix: str, retry: Retry, stopped: Callable[[], bool]
    ) -> None:
        self._store = store
        self._file = file
        self._key = prefix + file.name
        self._retry = retry
        self._stopped = stopped
        self._multipart: MultipartUpload | None = None

    def start(self, pool: ThreadPoolExecutor) -> list[Future[str]]:
        if self._file.parts > 1:
            self._multipart = self._retry.run(lambda: self._store.multipart(self._key))
        return [pool.submit(self._put, number) for number in range(self._file.parts)]

    def _put(self, number: int) -> str:
        if self._stopped():
            raise InterruptedError(f"{self._key}: upload stopped")
        data = self._read(number)
        multipart = self._multipart
        if multipart is None:
            self._retry.run(lambda: self._store.put(self._key, data))
        else:
            self._retry.run(lambda: multipart.put(number + 1, data))
        return hashlib.sha256(data).hexdigest()

    def _read(self, number: int) -> bytes:
        with self._file.path.open("rb") as file:
            file.seek(number * self._file.part_size)
            want = min(self._file.part_size, self._file.size - number * self._file.part_size)
            data = file.read(want)
        if len(data) != want:
            raise OSError(f"{self._file.name} became shorter while it was uploaded")
        return data

    def finish(self, futures: list[Future[str]]) -> FileEntry:
        digests = tuple(future.result() for future in futures)
        if self._multipart is not None:
            self._retry.run(self._multipart.complete)
        return FileEntry(self._file.name, self._file.size, self._file.part_size, digests)


def _walk(directory: Path) -> list[Path]:
    return [
        Path(folder) / name for folder, _, names in os.walk(directory) for name in names
    ]  # fmt: skip


def _plan(path: Path, directory: Path) -> _File:
    size = path.stat().st_size
    part_size = max(PART_SIZE, -(-size // MOST_PARTS))
    return _File(path, path.relative_to(directory).as_posix(), size, part_size)
