"""A store that misbehaves by a script: the faults that a network and a server really have."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from enum import Enum

from tests.unit.trainer.memory_store import MemoryStore
from tune_trainer.store.base import Data, Extent, MultipartUpload, Unavailable, UploadLost


class Fault(Enum):
    """What happens to one request."""

    NONE = "carried out"
    LOST = "not carried out, no answer"
    UNANSWERED = "carried out, no answer"
    LATE = "no answer, and carried out later"
    CONFLICT = "refused for a concurrent write that then fails"


class FaultyStore:
    """Takes one fault per request; carried out once they are used up."""

    def __init__(self, inner: MemoryStore, faults: Iterator[Fault]) -> None:
        self._inner = inner
        self._faults = faults
        self._late: list[Callable[[], object]] = []
        self._lock = threading.RLock()

    def get(self, key: str) -> bytes:
        with self._lock:
            self._answer_read()
            return self._inner.get(key)

    def read_into(self, key: str, start: int, buffer: memoryview) -> Extent:
        with self._lock:
            self._answer_read()
            return self._inner.read_into(key, start, buffer)

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        sent = bytes(data)  # what is carried out late is what was sent
        with self._lock:
            self._write(lambda: self._inner.put(key, sent, sha256))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._lock:
            write = self._write(lambda: self._inner.put_if_absent(key, data), conditional=True)
            return bool(write)

    def multipart(self, key: str) -> MultipartUpload:
        with self._lock:
            self._answer_read()
            return _FaultyMultipart(self, self._inner.multipart(key))

    def _answer_read(self) -> None:
        self._deliver()
        if self._next() is not Fault.NONE:
            raise Unavailable("no answer")

    def _write(self, action: Callable[[], object], *, conditional: bool = False) -> object:
        self._deliver()
        match self._next():
            case Fault.NONE:
                return action()
            case Fault.CONFLICT if conditional:
                return False
            case Fault.UNANSWERED:
                action()
            case Fault.LATE:
                self._late.append(action)
            case Fault.LOST | Fault.CONFLICT:
                pass
        raise Unavailable("no answer")

    def _deliver(self) -> None:
        """Carry out a late write, one request after the next."""
        for action in self._late[:1]:
            with contextlib.suppress(UploadLost):  # a part that comes after the end
                action()
        self._late = self._late[1:]

    def _next(self) -> Fault:
        return next(self._faults, Fault.NONE)


class _FaultyMultipart:
    def __init__(self, store: FaultyStore, inner: MultipartUpload) -> None:
        self._store = store
        self._inner = inner

    def put(self, number: int, data: Data, sha256: str = "") -> None:
        sent = bytes(data)
        with self._store._lock:
            self._store._write(lambda: self._inner.put(number, sent, sha256))

    def complete(self) -> None:
        with self._store._lock:
            self._store._write(self._inner.complete)

    def abort(self) -> None:
        with self._store._lock:
            self._store._write(self._inner.abort)
