"""A bucket in memory: the double of the store in unit tests, held to the same contract."""

import hashlib
import threading

from tune_trainer.store.base import Data, Extent, NotFound, Unavailable, UploadLost


class MemoryStore:
    """See ``tune_trainer.store.base.Store``."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[int, str] = {}
        """Keys of the multipart uploads that are open."""
        self.lock = threading.Lock()

    def get(self, key: str) -> bytes:
        with self.lock:
            if key not in self.objects:
                raise NotFound(f"{key}: no such object")
            return self.objects[key]

    def read_into(self, key: str, start: int, buffer: memoryview) -> Extent:
        data = self.get(key)
        part = data[start : start + len(buffer)]
        buffer[: len(part)] = part
        return Extent(len(part), len(data))

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        content = checked(data, sha256)
        with self.lock:
            self.objects[key] = content

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self.lock:
            if key in self.objects:
                return False
            self.objects[key] = bytes(data)
            return True

    def multipart(self, key: str) -> "MemoryMultipart":
        return MemoryMultipart(self, key)


class MemoryMultipart:
    """See ``tune_trainer.store.base.MultipartUpload``."""

    def __init__(self, store: MemoryStore, key: str) -> None:
        self._store = store
        self._key = key
        self._parts: dict[int, bytes] = {}
        self._made: bytes | None = None
        with store.lock:
            store.uploads[id(self)] = key

    def put(self, number: int, data: Data, sha256: str = "") -> None:
        self._need()
        self._parts[number] = checked(data, sha256)

    def complete(self) -> None:
        if self._made is not None and self._store.objects.get(self._key) == self._made:
            return
        self._need()
        self._made = b"".join(part for _, part in sorted(self._parts.items()))
        self._store.put(self._key, self._made)
        self.abort()

    def abort(self) -> None:
        with self._store.lock:
            self._store.uploads.pop(id(self), None)

    @property
    def is_open(self) -> bool:
        """Whether it was neither completed nor aborted."""
        with self._store.lock:
            return id(self) in self._store.uploads

    def _need(self) -> None:
        if not self.is_open:
            raise UploadLost(f"{self._key}: no such upload")


def checked(data: Data, sha256: str) -> bytes:
    """The data as they are now; refused when they are not what the sender hashed."""
    content = bytes(data)
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise Unavailable("the body was altered on the way")
    return content
