"""``Checkpoint``: a directory, here or in the store, with the names of Ray Tune.

A function reports one and gets one back. A checkpoint in the store is named by the URI of its
manifest, which is what ``status.best.checkpoint.uri`` shows.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from tune_trainer.errors import AttemptFailed
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys, parse_manifest_key

if TYPE_CHECKING:
    from tune_trainer.store.base import Store

METADATA_FILE = ".metadata.json"


class Checkpoint:
    """A reference: nothing is read before ``as_directory`` or ``to_directory``.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "weights").write_text("1 2 3")
    ...     with Checkpoint.from_directory(folder).as_directory() as found:
    ...         print(pathlib.Path(found, "weights").read_text())
    1 2 3
    """

    def __init__(self, path: str | os.PathLike[str], *, stored: Stored | None = None) -> None:
        """``path`` is a local directory, or a URI as in ``from_uri``; raises ValueError.

        ``stored`` is where a checkpoint of this attempt lies.
        """
        text = os.fspath(path)
        self._stored = stored
        if stored is None and text.startswith("s3://"):
            self._stored = Stored.parse(text)
        elif stored is None and "://" in text:
            text = _local(text)
        self.path = text
        """The directory, or the URI of one in the store."""

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """The checkpoint in a local directory, which stays the caller's."""
        return cls(Path(path))

    @classmethod
    def from_uri(cls, uri: str) -> Checkpoint:
        """The checkpoint at ``s3://bucket/.../m/<attempt>-<iteration>.json`` or ``file:///...``.

        Raises ValueError for any other form.
        """
        if "://" not in uri:
            raise ValueError(f"{uri!r} is no URI: expected s3:// or file://")
        return cls(uri)

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copy the content into a directory, a new temporary one by default, and return its path.

        What is there already stays, files of the same name are replaced. Raises FileNotFoundError
        for a local directory that is gone, and for one in the store what a restore raises.
        """
        if path is None:
            target = Path(tempfile.mkdtemp(prefix="checkpoint_tmp_"))
        else:
            target = Path(path).expanduser()
        existed = path is not None and target.exists()
        try:
            target.mkdir(parents=True, exist_ok=True)
            self._fill(target)
        except BaseException:
            if not existed:
                shutil.rmtree(target, ignore_errors=True)
            raise
        return str(target)

    @contextmanager
    def as_directory(self) -> Iterator[str]:
        """The content for reading: a local directory itself, one in the store as temporary copy."""
        if self._stored is None:
            yield str(self._local_directory())
            return
        target = self.to_directory()
        try:
            yield target
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def get_metadata(self) -> dict[str, Any]:
        """What ``set_metadata`` put beside the content; empty by default."""
        with self.as_directory() as directory:
            file = Path(directory, METADATA_FILE)
            found: dict[str, Any] = json.loads(file.read_bytes()) if file.exists() else {}
            return found

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Keep JSON beside the content; only before the checkpoint is reported."""
        if self._stored is not None:
            raise ValueError(f"{self.path}: a checkpoint in the store does not change any more")
        (self._local_directory() / METADATA_FILE).write_text(json.dumps(dict(metadata)))

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add to the metadata."""
        self.set_metadata({**self.get_metadata(), **metadata})

    def require(self) -> None:
        """Raises FileNotFoundError for a local directory that is not there."""
        if self._stored is None:
            self._local_directory()

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r})"

    def __fspath__(self) -> NoReturn:
        raise TypeError("a Checkpoint is no path: use as_directory() or to_directory()")

    def _local_directory(self) -> Path:
        directory = Path(self.path).expanduser()
        if not directory.is_dir():
            raise FileNotFoundError(f"the checkpoint's directory {self.path!r} does not exist")
        return directory

    def _fill(self, target: Path) -> None:
        if self._stored is not None:
            self._stored.download(target)
            return
        source = self._local_directory()
        if source.resolve() in target.resolve().parents:  # /tmp, for one
            raise ValueError(
                f"the checkpoint's directory {self.path!r} holds other files as well, such as "
                "this copy of it: give the checkpoint one of its own"
            )
        if not target.samefile(source):
            shutil.copytree(source, target, dirs_exist_ok=True)


class Stored:
    """A checkpoint in a bucket."""

    def __init__(
        self, bucket: str, keys: TrialKeys, ref: CheckpointRef, own: Store | None = None
    ) -> None:
        """``own`` is the bucket of this attempt, whose checkpoint may be on its way: it is awaited.

        Else the bucket is looked for by its name.
        """
        self.uri = f"s3://{bucket}/{keys.manifest(ref)}"
        self._bucket = bucket
        self._keys = keys
        self._ref = ref
        self._own = own

    @classmethod
    def parse(cls, uri: str) -> Stored:
        """Raises ValueError."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        root, _, _ = key.rpartition("/m/")
        ref = parse_manifest_key(key)
        keys = TrialKeys(root)
        if not bucket or ref is None or keys.manifest(ref) != key:
            raise ValueError(
                f"{uri!r} names no checkpoint: expected the URI of its manifest, s3://bucket/.../"
                "t/<trial>/m/<attempt>-<iteration>.json, as in status.best.checkpoint.uri"
            )
        return cls(bucket, keys, ref)

    def download(self, target: Path) -> None:
        """Fill the directory; every byte is verified before any is handed out."""
        try:
            self._download(target)
        except AttemptFailed as failed:
            raise AttemptFailed(failed.reason, f"{self.uri}: {failed.message}") from None

    def _download(self, target: Path) -> None:
        from tune_trainer.checkpoint.restore import fetch
        from tune_trainer.limits import Limits
        from tune_trainer.retry import Retry
        from tune_trainer.store import connection

        limits = Limits()
        store = connection.bucket(self._bucket) if self._own is None else self._own
        if self._own is not None:
            key = self._keys.manifest(self._ref)
            Retry(limits.upload, denied=limits.denied).run(lambda: _committed(store, key))
        retry = Retry(limits.restore, denied=limits.denied)
        # Inside the target, whatever lies beside it: so moving costs nothing.
        with (
            tempfile.TemporaryDirectory(prefix=".tune-", dir=target) as staging,
            fetch(store, self._keys, (self._ref,), Path(staging), retry) as restored,
        ):
            shutil.copytree(
                restored.directory, target, dirs_exist_ok=True, copy_function=os.replace
            )


def _committed(store: Store, key: str) -> None:
    """Raises Unavailable while there is no such object: it is asked for again."""
    from tune_trainer.store.base import NotFound, Unavailable

    try:
        store.get(key)
    except NotFound:
        raise Unavailable(f"{key} is not committed yet") from None


def _local(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path:
        raise ValueError(f"{uri!r}: expected s3://bucket/... or file:///...")
    return unquote(parts.path)
