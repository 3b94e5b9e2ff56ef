"""Attempts that save until a signal ends or stops them, for the kill loop.

``python -m tests.integration.doomed`` forks one process per attempt from itself, with everything
imported: an order is one line of JSON on its standard input. The attempt tells what it does, line
by line, over a Unix socket, whose end is the attempt's. What a checkpoint holds follows from its
attempt and iteration alone, so what was restored can be checked against its name.
"""

import hashlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tune_trainer import Trainable
from tune_trainer.checkpoint import layout
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.checkpoint.saver import Attempt, Saver
from tune_trainer.progress import Progress
from tune_trainer.protocol.keys import CheckpointRef, TrialKeys
from tune_trainer.protocol.result import Result
from tune_trainer.retry import Retry
from tune_trainer.store.base import Data, Extent, MultipartUpload, Store
from tune_trainer.store.s3 import Credentials, S3Store

T = TypeVar("T")
PART = 5 * 1024 * 1024
"""The smallest part that S3 allows."""
TRIAL = "00000"


@dataclass(frozen=True)
class Order:
    """One attempt. ``point``: at which step of a request, counted from 1, it sends itself a signal;
    0 for never. ``plan`` is the resume plan, newest first."""

    report: str
    staging: str
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    root: str
    attempt: int
    plan: tuple[str, ...]
    point: int
    signal: int
    saves: int

    def line(self) -> str:
        """The order as a zygote reads it."""
        return json.dumps(asdict(self)) + "\n"


def content_of(ref: CheckpointRef) -> dict[str, bytes]:
    """Files of a checkpoint: enough small ones for a pack, and at times one of two parts."""
    seed = hashlib.sha256(str(ref).encode()).digest()
    files = {f"layers/{number:02d}": seed[number:] * (number + 1) for number in range(12)}
    files["empty"] = b""
    if ref.iteration % 4 == 0:
        files["large"] = seed * (PART // len(seed) + 100)
    return files


def digest_of(files: Mapping[str, bytes]) -> str:
    """One digest of all names and bytes."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()


class Reporter:
    """What the attempt says, and what the saver asks the ledger for. It is never told of a fence:
    the worst zombie is one that does not know."""

    fenced = False

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)

    def say(self, *words: object) -> None:
        self._socket.sendall((" ".join(map(str, words)) + "\n").encode())

    def undurable(self) -> tuple[Result, ...]:
        return ()

    def committed(self, ref: CheckpointRef) -> None:
        self.say("committed", ref)


class Saved(Trainable):
    """Its state is what belongs to the attempt and iteration."""

    ref = CheckpointRef(1, 0)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        for name, data in content_of(self.ref).items():
            path = Path(checkpoint_dir, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)


class DoomedStore:
    """Counts the beginnings and ends of requests, and dies at one of them."""

    def __init__(self, inner: Store, point: int, number: int) -> None:
        self._inner = inner
        self._left = point
        self._signal = number
        self._lock = threading.Lock()

    def step(self, request: Callable[[], T]) -> T:
        self._count()
        answer = request()
        self._count()
        return answer

    def _count(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)

    def get(self, key: str) -> bytes:
        return self.step(lambda: self._inner.get(key))

    def read_into(self, key: str, start: int, buffer: memoryview) -> Extent:
        return self.step(lambda: self._inner.read_into(key, start, buffer))

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        self.step(lambda: self._inner.put(key, data, sha256))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.step(lambda: self._inner.put_if_absent(key, data))

    def multipart(self, key: str) -> MultipartUpload:
        return DoomedMultipart(self, self.step(lambda: self._inner.multipart(key)))


class DoomedMultipart:
    def __init__(self, store: DoomedStore, inner: MultipartUpload) -> None:
        self._store = store
        self._inner = inner

    def put(self, number: int, data: Data, sha256: str = "") -> None:
        self._store.step(lambda: self._inner.put(number, data, sha256))

    def complete(self) -> None:
        self._store.step(self._inner.complete)

    def abort(self) -> None:
        self._store.step(self._inner.abort)


def run(order: Order) -> None:
    """One attempt: restore, save so many times, say so."""
    layout.PART_SIZE = PART  # type: ignore[attr-defined]
    reporter = Reporter(order.report)
    reporter.say("pid", os.getpid())
    keys = TrialKeys(f"{order.root}/t/{TRIAL}")
    credentials = Credentials(order.access_key, order.secret_key)
    remote = S3Store(order.endpoint, "us-east-1", order.bucket, credentials)
    store = DoomedStore(remote, order.point, order.signal)
    staging = Path(order.staging)
    saver = Saver(
        Attempt("digits", TRIAL, order.attempt, keys), store, reporter, staging, Retry(60)
    )
    iteration = 0
    if order.plan:
        plan = tuple(map(CheckpointRef.parse, order.plan))
        with fetch(store, keys, plan, staging, Retry(60)) as restored:
            iteration = restored.manifest.ref.iteration
            reporter.say("restored", restored.manifest.ref, digest_of(files_in(restored.directory)))
        saver.restored(iteration)
    reporter.say("training")
    trainable = Saved({})
    for number in range(iteration + 1, iteration + 1 + order.saves):
        trainable.ref = CheckpointRef(order.attempt, number)
        saver.save(trainable, Progress(iteration=number), {"value": number}, forced=True)
    saver.wait()
    reporter.say("done")


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def main() -> None:
    """Fork an attempt per line until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            document: dict[str, Any] = json.loads(line)
            document["plan"] = tuple(document["plan"])
            try:
                run(Order(**document))
            except BaseException as error:  # noqa: BLE001 - a child must never return into the loop
                sys.stderr.write(f"attempt {document['attempt']}: {error!r}\n")
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)


if __name__ == "__main__":
    main()
