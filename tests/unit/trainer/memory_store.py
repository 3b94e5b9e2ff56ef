"""A bucket in memory: the double of the store in unit tests, held to the same contract."""

import threading

from tune_trainer.store.base import Chunk, NotFound


class MemoryStore:
    """See ``tune_trainer.store.base.Store``."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def get(self, key: str) -> bytes:
        with self.lock:
            if key not in self.objects:
                raise NotFound(f"{key}: no such object")
            return self.objects[key]

    def get_range(self, key: str, start: int, length: int) -> Chunk:
        data = self.get(key)
        return Chunk(data[start : start + length], len(data))

    def put(self, key: str, data: bytes) -> None:
        with self.lock:
            self.objects[key] = bytes(data)

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

    def put(self, number: int, data: bytes) -> None:
        self._parts[number] = bytes(data)

    def complete(self) -> None:
        self._store.put(self._key, b"".join(part for _, part in sorted(self._parts.items())))
