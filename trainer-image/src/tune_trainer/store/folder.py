"""A folder as the store: for trials on a laptop, by the same contract as a bucket's.

An object appears as a whole or not at all, also when the process is killed or the machine loses
power: it is written beside its place, made durable, and then renamed or linked there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from tune_trainer.store.base import Data, Extent, NotFound, Unavailable, UploadLost

_UNFINISHED = re.compile(r"\.tune-[0-9a-f]{16}")


class FolderStore:
    """See ``base.Store``. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """``folder`` need not exist."""
        self._folder = folder

    def get(self, key: str) -> bytes:
        with _reading(key):
            return self._path(key).read_bytes()

    def read_into(self, key: str, start: int, buffer: memoryview) -> Extent:
        with _reading(key), self._path(key).open("rb") as file:
            file.seek(start)
            return Extent(file.readinto(buffer), os.fstat(file.fileno()).st_size)

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        _check(key, data, sha256)
        with self._written_beside(key) as (beside, path):
            _write(beside, data)
            beside.replace(path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._written_beside(key) as (beside, path):
            _write(beside, data)
            try:
                path.hardlink_to(beside)
            except FileExistsError:
                return False
            finally:
                beside.unlink()
        return True

    def multipart(self, key: str) -> FolderMultipart:
        with _writing(key):
            path = self._path(key)
            parts = _beside(path)
            parts.mkdir(parents=True)
        return FolderMultipart(self, key, parts)

    def join(self, key: str, parts: Path) -> None:
        """Make an object of the files in a folder, in the order of their names."""
        with self._written_beside(key) as (beside, path):
            with beside.open("xb") as target:
                for part in sorted(parts.iterdir()):
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            beside.replace(path)
            shutil.rmtree(parts)

    def keys(self, prefix: str) -> list[str]:
        """Keys of all objects below ``prefix``, a folder, in order."""
        with _writing(prefix):
            root = self._path(prefix)
            found = [path for path in root.rglob("*") if path.is_file()]
        names = [path.relative_to(self._folder) for path in found]
        return sorted(
            name.as_posix()
            for name in names
            if not any(_UNFINISHED.fullmatch(part) for part in name.parts)
        )

    def sweep(self, prefix: str) -> None:
        """Remove what killed processes left unfinished below ``prefix``; nobody may write there."""
        with _writing(prefix):
            for path in sorted(self._path(prefix).rglob(".tune-*")):
                if not _UNFINISHED.fullmatch(path.name):
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        parts = key.rstrip("/").split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
            raise Unavailable(f"{key!r} is no key of a folder")
        return self._folder.joinpath(*parts)

    @contextlib.contextmanager
    def _written_beside(self, key: str) -> Iterator[tuple[Path, Path]]:
        """A path to write to, and the object's; the latter's name is durable afterwards."""
        with _writing(key):
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = _beside(path)
            try:
                yield beside, path
            except OSError:
                beside.unlink(missing_ok=True)
                raise
            _flush_folder(path.parent)


class FolderMultipart:
    """Parts are files until they are joined: their sizes need not be known before."""

    _complete = False

    def __init__(self, store: FolderStore, key: str, parts: Path) -> None:
        self._store = store
        self._key = key
        self._parts = parts

    def put(self, number: int, data: Data, sha256: str = "") -> None:
        _check(self._key, data, sha256)
        self._need()
        with _writing(self._key):
            (self._parts / f"{number:05d}").write_bytes(data)

    def complete(self) -> None:
        if self._complete:
            return
        self._need()
        self._store.join(self._key, self._parts)
        self._complete = True

    def abort(self) -> None:
        shutil.rmtree(self._parts, ignore_errors=True)

    def _need(self) -> None:
        if not self._parts.is_dir():
            raise UploadLost(f"{self._key}: no such upload")


def _check(key: str, data: Data, sha256: str) -> None:
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise Unavailable(f"{key}: the data were altered since they were hashed")


@contextlib.contextmanager
def _reading(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotFound(f"{key}: no such object") from None
    except OSError as error:
        raise Unavailable(f"{key}: {error}") from None


@contextlib.contextmanager
def _writing(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{key}: {error}") from None


def _beside(path: Path) -> Path:
    return path.with_name(f".tune-{secrets.token_hex(8)}")


def _write(path: Path, data: Data) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
