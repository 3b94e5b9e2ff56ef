"""Data files into the store: in parts, in parallel, with a checksum for each part."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from tune_trainer.checkpoint.layout import LargeFile, Layout, PackPlan
from tune_trainer.checkpoint.parallel import PARALLEL, Buffers, Workers, workers
from tune_trainer.errors import Unusable
from tune_trainer.protocol import pack
from tune_trainer.protocol.manifest import FileEntry, Pack
from tune_trainer.retry import Retry
from tune_trainer.store.base import MultipartUpload, Store, StoreError, UploadLost

log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Written:
    """What a manifest says about the data."""

    files: tuple[FileEntry, ...]
    packs: tuple[Pack, ...]


class Uploader:
    """Writes checkpoints of one attempt, one at a time; its buffers stay for the next."""

    def __init__(self, store: Store, retry: Retry, stopped: Callable[[], bool]) -> None:
        """Nothing more is tried when ``stopped`` has turned true."""
        self._store = store
        self._retry = retry
        self._stopped = stopped
        self._buffers = Buffers()

    def write(self, directory: Path, layout: Layout, prefix: str) -> Written:
        """Every object of the layout to ``prefix`` + its name.

        Raises Cancelled, Unusable, and OSError for a directory that cannot be read. Multipart
        uploads that were begun are aborted then.
        """
        with workers("upload", self._retry, self._stopped) as pool:
            one = _Checkpoint(self._store, pool, self._buffers, directory, prefix)
            try:
                packs = [pool.submit(one.put_pack, found) for found in layout.packs]
                files = one.put_files(layout.files)
                return Written(files, tuple(pool.results(packs)))
            except BaseException as error:
                pool.end()
                one.abort()
                if isinstance(error, UploadLost):
                    raise Unusable(str(error)) from error
                raise


class _Checkpoint:
    """One checkpoint on its way."""

    def __init__(
        self, store: Store, pool: Workers, buffers: Buffers, directory: Path, prefix: str
    ) -> None:
        self._store = store
        self._pool = pool
        self._buffers = buffers
        self._directory = directory
        self._prefix = prefix
        self._open: list[MultipartUpload] = []

    def put_files(self, files: tuple[LargeFile, ...]) -> tuple[FileEntry, ...]:
        """A few at a time, so that as many multipart uploads are open at most."""
        entries = []
        started: deque[_FileUpload] = deque()
        for file in files:
            if len(started) >= PARALLEL:
                entries.append(self._finish(started.popleft()))
            started.append(self._start(file))
        entries += [self._finish(upload) for upload in started]
        return tuple(entries)

    def _start(self, file: LargeFile) -> _FileUpload:
        multipart = None
        if file.parts > 1:
            key = self._prefix + file.name
            multipart = self._pool.ask(lambda: self._store.multipart(key))
            self._open.append(multipart)
        parts = [
            self._pool.submit(self._put_part, file, number, multipart)
            for number in range(file.parts)
        ]
        return _FileUpload(file, parts, multipart)

    def _finish(self, upload: _FileUpload) -> FileEntry:
        file, multipart = upload.file, upload.multipart
        digests = tuple(self._pool.results(upload.parts))
        if multipart is not None:
            self._pool.ask(multipart.complete)
            self._open.remove(multipart)
        return FileEntry(file.name, file.size, file.part_size, digests)

    def _put_part(self, file: LargeFile, number: int, multipart: MultipartUpload | None) -> str:
        start, length = file.extent(number)
        with self._buffers.lend(length) as data:
            _fill(self._directory / file.name, start, data)
            digest = hashlib.sha256(data).hexdigest()
            if multipart is None:
                self._put(file.name, data, digest)
            else:
                self._pool.ask(lambda: multipart.put(number + 1, data, digest))
        return digest

    def put_pack(self, plan: PackPlan) -> Pack:
        """Make one pack and write it."""
        head = pack.table(plan.members)
        size = len(head) + sum(member.size for member in plan.members)
        with self._buffers.lend(size) as data:
            data[: len(head)] = head
            offset = len(head)
            for member in plan.members:
                if member.size:
                    room = data[offset : offset + member.size]
                    _fill(self._directory / member.path, 0, room)
                offset += member.size
            digest = hashlib.sha256(data).hexdigest()
            self._put(plan.name, data, digest)
        return Pack(plan.name, size, digest)

    def _put(self, name: str, data: memoryview, digest: str) -> None:
        self._pool.ask(lambda: self._store.put(self._prefix + name, data, digest))

    def abort(self) -> None:
        """Drop what will not be completed; what cannot be dropped now is left to the operator."""
        for multipart in self._open:
            try:
                multipart.abort()
            except StoreError as error:
                log.warning("a multipart upload is left behind: %s", error)
                return  # the others would wait as long for nothing


@dataclass(frozen=True)
class _FileUpload:
    """One file on its way."""

    file: LargeFile
    parts: list[Future[str]]
    multipart: MultipartUpload | None


def _fill(path: Path, start: int, data: memoryview) -> None:
    """Read exactly this much of a file."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        done = 0
        while done < len(data):
            count = file.readinto(data[done:])
            if not count:
                raise OSError(f"{path.name} became shorter while it was uploaded")
            done += count
