"""What a checkpoint costs, as ratios within one run: ``make bench-checkpoint``.

A machine's absolute numbers say little about another's, and other work on it changes them. So
everything is measured in turns, several times, and medians are compared: saving with one copy of
the same bytes in memory, transfers with plain sockets between the same two processes.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from minio import Minio

from tune_trainer import Trainable
from tune_trainer.checkpoint.parallel import PARALLEL
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.checkpoint.saver import Attempt, Saver
from tune_trainer.progress import Progress
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, TrialKeys
from tune_trainer.protocol.manifest import PART_SIZE
from tune_trainer.protocol.result import Result
from tune_trainer.retry import Retry
from tune_trainer.store.s3 import Credentials, S3Store

ROOT = Path(__file__).parents[2]
BUCKET = "bench"
MINIO_KEY = "benchbench"
PARTS = ["blocking", "transfers", "training", "clients", "imports"]
INTERVAL = 60.0
"""Seconds between checkpoints that the slow-down of training is told for."""


class Ledger:
    """Of an attempt that nobody replaces."""

    fenced = False

    def undurable(self) -> tuple[Result, ...]:
        return ()

    def committed(self, ref: CheckpointRef) -> None:
        """Nobody is told."""


class Weights(Trainable):
    """A dictionary of arrays."""

    state: dict[str, Any]

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return self.state


class OwnFile(Trainable):
    """The same bytes, written by the trainable itself."""

    state: dict[str, Any]

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        with Path(checkpoint_dir, "weights").open("wb") as file:
            file.writelines(array.data for array in self.state.values())


class Bench:
    """One checkpoint of ``size`` bytes, measured ``rounds`` times."""

    def __init__(self, size: int, rounds: int) -> None:
        self.rounds = rounds
        self.size = size
        layers = 10
        self.state = {
            f"layer{n}": np.frombuffer(
                bytearray(np.random.default_rng(n).bytes(size // layers)), dtype=np.uint8
            )
            for n in range(layers)
        }
        self._attempts = 0

    @contextmanager
    def saver(self, store: S3Store) -> Iterator[tuple[Saver, TrialKeys, Path]]:
        """A saver of a trial of its own."""
        self._attempts += 1
        keys = RunKeys(f"run{self._attempts}").trial("00000")
        staging = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            attempt = Attempt("bench", "00000", 1, keys)
            yield Saver(attempt, store, Ledger(), staging, Retry(600)), keys, staging
        finally:
            shutil.rmtree(staging)

    def effort(self, seconds: float) -> str:
        return f"{seconds / self.size * 1e9:.2f} ns/B"

    def rate(self, seconds: float) -> str:
        return f"{self.size / seconds / 1e9:.2f} GB/s"


def timed(action: Callable[[], object]) -> float:
    """Seconds it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median(values: list[float]) -> float:
    return statistics.median(values)


@contextmanager
def server(size: int, niceness: int = 0) -> Iterator[tuple[int, int]]:
    """Ports of raw sockets and of S3 in another process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.checkpoint.server", str(size + PART_SIZE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: os.nice(niceness) and None,  # noqa: PLW1509 - no threads yet
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    one, other = process.stdout.readline().split()
    try:
        yield int(one), int(other)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(20)


def say(what: str, measured: str, ratio: str = "", target: str = "") -> None:
    print(f"| {what} | {measured} | {ratio} | {target} |", flush=True)


def blocking(bench: Bench, port: int) -> None:
    """Snapshots against one copy of the same bytes in memory."""
    source = bytearray(bench.size)
    target = memoryview(bytearray(bench.size))
    store = S3Store(f"http://127.0.0.1:{port}", "", BUCKET, Credentials("key", "secret-key"))

    def copy() -> None:
        target[:] = source

    times: dict[str, list[float]] = {"copy": [], "dictionary": [], "directory": []}
    first = 0.0
    with bench.saver(store) as (saver, _, _), bench.saver(store) as (other, _, _):
        weights, own = Weights({}), OwnFile({})
        weights.state = own.state = bench.state
        for number in range(bench.rounds + 1):
            progress = Progress(iteration=number + 1)
            copied = timed(copy)
            took = timed(partial(saver.save, weights, progress, {}, forced=True))
            saver.wait()
            wrote = timed(partial(other.save, own, progress, {}, forced=True))
            other.wait()
            if number == 0:
                first = took
                continue
            times["copy"].append(copied)
            times["dictionary"].append(took)
            times["directory"].append(wrote)
    store.close()
    base = median(times["copy"])
    say("one copy in memory", f"{base * 1e3:.0f} ms", "1")
    ratio = median([a / b for a, b in zip(times["dictionary"], times["copy"], strict=True)])
    say("training blocked, a dictionary of arrays", f"{median(times['dictionary']) * 1e3:.0f} ms",
        f"{ratio:.1f}", "at most 2")  # fmt: skip
    say("the first of an attempt (its file is new)", f"{first * 1e3:.0f} ms", f"{first / base:.1f}")
    ratio = median([a / b for a, b in zip(times["directory"], times["copy"], strict=True)])
    say("a directory: the trainable's own write of new files",
        f"{median(times['directory']) * 1e3:.0f} ms", f"{ratio:.1f}")  # fmt: skip


def transfers(bench: Bench, raw_port: int, s3_port: int) -> None:
    """Upload and restore against plain sockets, as many of them, with as large blocks."""
    store = S3Store(f"http://127.0.0.1:{s3_port}", "", BUCKET, Credentials("key", "secret-key"))
    names = ("put", "upload", "get", "file", "restore")
    times: dict[str, list[float]] = {name: [] for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}
    weights = Weights({})
    weights.state = bench.state
    with bench.saver(store) as (saver, keys, staging), RawClient(raw_port, bench.size) as plain:
        for number in range(bench.rounds + 1):
            ref = CheckpointRef(1, number + 1)
            actions: dict[str, Callable[[], object]] = {
                "put": plain.put,
                "upload": saver.wait,
                "get": plain.get,
                "file": partial(plain.get_into, staging / "plain"),
                "restore": partial(restored, store, keys, ref, staging),
            }
            for name, action in actions.items():
                if name == "upload":  # the snapshot is no part of it
                    saver.save(weights, Progress(iteration=ref.iteration), {}, forced=True)
                before = time.process_time()
                took = timed(action)
                if number:
                    times[name].append(took)
                    spent[name].append(time.process_time() - before)
    store.close()
    hashed = time.process_time()
    for array in bench.state.values():
        hashlib.sha256(array.data).digest()
    hashed = time.process_time() - hashed
    for what, mine, base, target in (
        ("upload", "upload", "put", "at least 60 %"),
        ("restore, verified", "restore", "get", "at least 60 %"),
        ("the same against plain sockets into a new file", "restore", "file", ""),
    ):
        ratio = median([b / m for m, b in zip(times[mine], times[base], strict=True)])
        say(f"plain sockets, {base}", bench.rate(median(times[base])), "100 %")
        say(what, bench.rate(median(times[mine])), f"{ratio:.0%}", target)
        say(f"CPU of {what}; of the plain sockets; of SHA-256 alone",
            "; ".join(bench.effort(value) for value in (
                median(spent[mine]), median(spent[base]), hashed)))  # fmt: skip


def restored(store: S3Store, keys: TrialKeys, ref: CheckpointRef, staging: Path) -> None:
    with fetch(store, keys, (ref,), staging, Retry(600)):
        """Every byte is verified by now."""


class RawClient:
    """Sends and takes in the bytes over as many connections as the SDK has."""

    def __init__(self, port: int, size: int) -> None:
        self._port = port
        self._size = size
        self._buffers = [memoryview(bytearray(PART_SIZE)) for _ in range(PARALLEL)]
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        self._connections = [
            socket.create_connection(("127.0.0.1", self._port)) for _ in range(PARALLEL)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def put(self) -> None:
        self._each(self._put)

    def get(self) -> None:
        self._each(self._get)

    def get_into(self, path: Path) -> None:
        """Take the bytes in and write them into a new file."""
        with path.open("wb", buffering=0) as self._file:
            self.get()
        self._file = None
        path.unlink()

    def _each(self, one: Callable[[int, int, int], None]) -> None:
        def lane(index: int) -> None:
            for start in range(index * PART_SIZE, self._size, PARALLEL * PART_SIZE):
                one(index, start, min(PART_SIZE, self._size - start))

        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lane, range(PARALLEL)))

    def _put(self, index: int, start: int, size: int) -> None:
        connection, view = self._connections[index], self._buffers[index][:size]
        connection.sendall(f"P {start} {size}\n".encode())
        for offset in range(0, size, 1 << 18):
            connection.sendall(view[offset : offset + (1 << 18)])
        connection.recv(1)

    def _get(self, index: int, start: int, size: int) -> None:
        connection, view = self._connections[index], self._buffers[index][:size]
        connection.sendall(f"G {start} {size}\n".encode())
        count = 0
        while count < size:
            count += connection.recv_into(view[count : count + (1 << 20)])
        if self._file is not None:
            os.pwrite(self._file.fileno(), view, start)


def slow_down(bench: Bench, port: int) -> None:
    """Seconds that one checkpoint takes from the training, told per interval of a minute."""
    store = S3Store(f"http://127.0.0.1:{port}", "", BUCKET, Credentials("key", "secret-key"))
    matrix = np.random.default_rng(0).random((300, 300))
    steps = max(1, int(6.0 / min(timed(lambda: train(matrix, 1)) for _ in range(5))))
    lost = []
    with bench.saver(store) as (saver, _, _):
        weights = Weights({})
        weights.state = bench.state
        for number in range(bench.rounds + 1):
            alone = timed(lambda: train(matrix, steps))

            def with_checkpoint(iteration: int) -> None:
                saver.save(weights, Progress(iteration=iteration), {}, forced=True)
                train(matrix, steps)

            both = timed(partial(with_checkpoint, number + 1))
            saver.wait()
            if number:
                lost.append(both - alone)
    store.close()
    say(f"training lost per checkpoint ({steps} steps with and without)",
        f"{median(lost):.2f} s", f"{median(lost) / INTERVAL:.1%} at {INTERVAL:.0f} s",
        "at most 1 %")  # fmt: skip


def train(matrix: np.ndarray[Any, Any], steps: int) -> None:
    """Work of a fixed size."""
    for _ in range(steps):
        matrix @ matrix
        sum(range(20_000))


def against_clients(bench: Bench) -> None:
    """Upload and download of the same file to a real MinIO, by the SDK and by others."""
    binary = minio_binary()
    if binary is None:
        say("a real MinIO", "none was built: make cluster builds one")
        return
    weights = Weights({})
    weights.state = bench.state
    with minio_server(binary) as endpoint, tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        with path.open("wb") as file:
            for array in bench.state.values():
                file.write(array.data)
        host = endpoint.removeprefix("http://")
        client = Minio(host, access_key=MINIO_KEY, secret_key=MINIO_KEY, secure=False)
        client.make_bucket(BUCKET)
        store = S3Store(endpoint, "", BUCKET, Credentials(MINIO_KEY, MINIO_KEY))
        back = Path(folder, "back")
        put: dict[str, list[float]] = {"tune_trainer": []}
        get: dict[str, list[float]] = {"tune_trainer": []}
        others: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "minio-py fput_object, fget_object": (
                lambda: client.fput_object(BUCKET, "file", str(path), part_size=PART_SIZE),
                lambda: client.fget_object(BUCKET, "file", str(back)),
            )
        }
        if importlib.util.find_spec("boto3"):
            others["boto3 upload_file, download_file"] = boto(endpoint, path, back)
        with bench.saver(store) as (saver, keys, staging):
            for number in range(bench.rounds + 1):
                saver.save(weights, Progress(iteration=number + 1), {}, forced=True)
                took = timed(saver.wait)
                ref = CheckpointRef(1, number + 1)
                back_took = timed(partial(restored, store, keys, ref, staging))
                if number:
                    put["tune_trainer"].append(took)
                    get["tune_trainer"].append(back_took)
                for name, (send, receive) in others.items():
                    sent, received = timed(send), timed(receive)
                    if number:
                        put.setdefault(name, []).append(sent)
                        get.setdefault(name, []).append(received)
        store.close()
    for verb, times in (("upload to MinIO", put), ("download from MinIO", get)):
        for name, values in times.items():
            pairs = zip(values, times["tune_trainer"], strict=True)
            ratio = median([value / mine for value, mine in pairs])
            say(f"{verb}, {name}", bench.rate(median(values)), f"takes {ratio:.2f} times as long")


def boto(
    endpoint: str, path: Path, back: Path
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same by boto3, where it is installed."""
    boto3 = importlib.import_module("boto3")
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id=MINIO_KEY, aws_secret_access_key=MINIO_KEY,
    )  # fmt: skip
    return (
        lambda: client.upload_file(str(path), BUCKET, "boto"),
        lambda: client.download_file(BUCKET, "boto", str(back)),
    )


def minio_binary() -> Path | None:
    """What MINIO_BINARY names, else the newest that a cluster of ours was built with."""
    named = os.environ.get("MINIO_BINARY")
    cache = Path(os.environ.get("TUNE_CACHE_DIR") or Path.home() / ".cache" / "tune-operator")
    built = sorted(cache.glob("bin/minio-*/minio"), key=lambda path: path.stat().st_mtime)
    return Path(named) if named else (built[-1] if built else None)


@contextmanager
def minio_server(binary: Path) -> Iterator[str]:
    """A MinIO of this run's own."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen(
            [binary, "server", "--quiet", "--address", f"127.0.0.1:{port}", folder],
            env={**os.environ, "MINIO_ROOT_USER": MINIO_KEY, "MINIO_ROOT_PASSWORD": MINIO_KEY},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def wait_for(port: int) -> None:
    """Until MinIO serves."""
    client = Minio(f"127.0.0.1:{port}", access_key=MINIO_KEY, secret_key=MINIO_KEY, secure=False)
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(Exception):
            client.list_buckets()
            return
        if time.monotonic() > deadline:
            raise SystemExit("MinIO does not answer")
        threading.Event().wait(0.2)


def imports() -> None:
    """What importing the SDK adds to the start of an interpreter."""
    for what, statement in (
        (
            "import tune_trainer (what a user's module imports)",
            "from tune_trainer import Trainable",
        ),
        (
            "import tune_trainer.runner (the whole trainer, with the store)",
            "import tune_trainer.runner",
        ),
    ):
        pairs = [(start("pass"), start(statement)) for _ in range(9)]
        took = median([with_it - bare for bare, with_it in pairs])
        say(what, f"{took * 1e3:.0f} ms", "", "at most 150 ms")


def start(statement: str) -> float:
    return timed(lambda: subprocess.run([sys.executable, "-c", statement], check=True))


def main() -> None:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all when none is named")
    arguments = parser.parse_args()
    bench = Bench(arguments.megabytes * 1_000_000, arguments.rounds)
    load = os.getloadavg()[0]
    print(
        f"{arguments.megabytes} MB, medians of {arguments.rounds}; {os.cpu_count()} cores "
        f"({platform.machine()}), load {load:.1f}, Python {platform.python_version()}\n"
    )
    say("what", "measured", "ratio", "target")
    say("---", "---", "---", "---")
    chosen = arguments.parts or PARTS
    with server(bench.size) as (raw_port, s3_port):
        if "blocking" in chosen:
            blocking(bench, s3_port)
        if "transfers" in chosen:
            transfers(bench, raw_port, s3_port)
    if "training" in chosen:
        with server(bench.size, niceness=19) as (_, s3_port):  # a real one is another machine
            slow_down(bench, s3_port)
    if "clients" in chosen:
        against_clients(bench)
    if "imports" in chosen:
        imports()


if __name__ == "__main__":
    main()
