"""Attempts that save until a signal ends or stops them, for the kill loop.

``tests.integration.zygote`` starts them. An attempt tells what it does, line by line, over a Unix
socket, whose end is the attempt's. What a checkpoint holds follows from its attempt and iteration
alone, so what was restored can be checked against its name.
"""

import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
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


class Place(StrEnum):
    """The requests of an attempt."""

    GET_MANIFEST = "get manifest"
    READ_DATA = "read data"
    PUT_DATA = "put data"
    BEGIN_MULTIPART = "begin multipart"
    PUT_PART = "put part"
    COMPLETE_MULTIPART = "complete multipart"
    PUT_MANIFEST = "put manifest"


class Edge(StrEnum):
    """When during a request."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True)
class Point:
    """Where an attempt sends itself a signal: at the ``nth`` request of its kind, counted from 1.

    ``delay``: seconds after the beginning of the request, for DURING.
    """

    place: str
    edge: str
    nth: int = 1
    delay: float = 0.0


@dataclass(frozen=True)
class Order:
    """One attempt. ``plan`` is the resume plan, newest first; at ``point`` it sends itself the
    signal, at None never; ``broken`` is the rule it breaks: see ``tests.integration.careless``."""

    report: str
    staging: str
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    root: str
    attempt: int
    plan: tuple[str, ...]
    point: Point | None
    signal: int
    saves: int
    broken: str

    def line(self) -> str:
        """The order as the zygote reads it."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def parse(cls, line: str) -> "Order":
        """The order of a line."""
        document: dict[str, Any] = json.loads(line)
        document["plan"] = tuple(document["plan"])
        document["point"] = document["point"] and Point(**document["point"])
        return cls(**document)


def content_of(ref: CheckpointRef) -> dict[str, bytes]:
    """Files of a checkpoint: enough small ones for a pack, and in every third one of two parts."""
    seed = hashlib.sha256(str(ref).encode()).digest()
    files = {f"layers/{number:02d}": seed[number:] * (number + 1) for number in range(12)}
    files["empty"] = b""
    if ref.iteration % 3 == 0:
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
    """Knows the requests, and dies at one of them."""

    def __init__(self, inner: Store, point: Point | None, number: int) -> None:
        self._inner = inner
        self._point = point
        self._left = point.nth if point else 0
        self._signal = number
        self._lock = threading.Lock()

    def step(self, place: Place, request: Callable[[], T]) -> T:
        point = self._reached(place)
        if point and point.edge == Edge.BEFORE:
            self._die()
        if point and point.edge == Edge.DURING:
            timer = threading.Timer(point.delay, self._die)
            timer.daemon = True  # it is no reason to stay
            timer.start()
        answer = request()
        if point and point.edge == Edge.AFTER:
            self._die()
        return answer

    def _reached(self, place: Place) -> Point | None:
        with self._lock:
            if self._point is None or place != self._point.place:
                return None
            self._left -= 1
            return self._point if self._left == 0 else None

    def _die(self) -> None:
        os.kill(os.getpid(), self._signal)

    def get(self, key: str) -> bytes:
        return self.step(Place.GET_MANIFEST, lambda: self._inner.get(key))

    def read_into(self, key: str, start: int, buffer: memoryview) -> Extent:
        return self.step(Place.READ_DATA, lambda: self._inner.read_into(key, start, buffer))

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        place = Place.PUT_MANIFEST if "/m/" in key else Place.PUT_DATA
        self.step(place, lambda: self._inner.put(key, data, sha256))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.step(Place.PUT_MANIFEST, lambda: self._inner.put_if_absent(key, data))

    def multipart(self, key: str) -> MultipartUpload:
        begun = self.step(Place.BEGIN_MULTIPART, lambda: self._inner.multipart(key))
        return DoomedMultipart(self, begun)


class DoomedMultipart:
    def __init__(self, store: DoomedStore, inner: MultipartUpload) -> None:
        self._store = store
        self._inner = inner

    def put(self, number: int, data: Data, sha256: str = "") -> None:
        self._store.step(Place.PUT_PART, lambda: self._inner.put(number, data, sha256))

    def complete(self) -> None:
        self._store.step(Place.COMPLETE_MULTIPART, self._inner.complete)

    def abort(self) -> None:
        self._inner.abort()


def run(order: Order, reporter: Reporter) -> None:
    """Restore, save so many times, say so."""
    layout.PART_SIZE = PART  # type: ignore[attr-defined]
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
    if iteration:  # a signal right after the restore: there is nothing new to save
        trainable.ref = CheckpointRef(order.attempt, iteration)
        saver.save(trainable, Progress(iteration=iteration), {"value": iteration}, forced=True)
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
