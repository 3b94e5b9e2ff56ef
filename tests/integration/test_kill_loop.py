"""Attempts of one trial that are killed, or stopped and later revived, at random points.

Each round is one attempt. After its end the resume plan is made as the operator makes it, and the
next attempt restores by it. What is restored was committed, is whole, and is never older than the
last checkpoint that was acknowledged; what a revived zombie commits changes nothing.

``ROUNDS=300 SEED=7`` for more, or for the same again.
"""

import contextlib
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

import pytest
from minio import Minio

from tests.clusters import Bucket
from tests.integration.doomed import TRIAL, Order, content_of, digest_of
from tests.polling import soon
from tune_operator.lifecycle.settle import resume_plan
from tune_operator.lifecycle.trial_state import TrialState
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, parse_manifest_key

ROUNDS = int(os.environ.get("ROUNDS", "60"))
SEED = int(os.environ.get("SEED", "1"))
SAVES = 3
"""Checkpoints an attempt saves when nothing happens to it."""
POINTS = 20
"""Beginnings and ends of requests among which one is chosen; about as many as an attempt has."""
LONGEST = 0.5
"""Seconds after which a signal comes at the latest, when it comes by the clock."""
PATIENCE = 60.0


class Revival(Enum):
    """When a stopped attempt goes on."""

    BEFORE_ITS_SUCCESSOR = auto()
    BESIDE_ITS_SUCCESSOR = auto()
    AFTER_ITS_SUCCESSOR = auto()


@dataclass
class Life:
    """One attempt as it told of itself."""

    number: int
    socket: socket.socket
    pid: int = 0
    lines: list[list[str]] = field(default_factory=list)
    ended: bool = False
    _rest: bytes = b""

    def said(self, word: str) -> list[list[str]]:
        return [line[1:] for line in self.lines if line[0] == word]

    @property
    def acknowledged(self) -> list[CheckpointRef]:
        return [CheckpointRef.parse(ref) for [ref] in self.said("committed")]

    @property
    def stopped(self) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return status.rpartition(")")[2].split()[0] == "T"

    def listen(self, seconds: float) -> bool:
        """Take in what it says within this time; whether it said anything or ended."""
        if self.ended or not select.select([self.socket], [], [], seconds)[0]:
            return False
        data = b""
        with contextlib.suppress(ConnectionError):
            data = self.socket.recv(65536)
        if not data:
            self.ended = True
            self.socket.close()
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode().split() for line in lines]
        return True

    def rest(self) -> bool:
        """Listen a moment; whether it has come to rest: ended, or stopped."""
        self.listen(0.05)
        return self.ended or (self.stopped and not self.listen(0))

    def finish(self) -> None:
        """Listen until it has ended by itself."""
        while not self.ended:
            assert self.listen(PATIENCE), f"attempt {self.number} hangs (seed {SEED})"

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if not self.ended:
                os.kill(self.pid, number)


class Zygote:
    """Starts attempts; see ``tests.integration.doomed``."""

    def __init__(self, folder: Path, minio: Bucket) -> None:
        self._folder = folder
        self._minio = minio
        self.root = f"kill-loop/{uuid.uuid4()}"
        self.keys = RunKeys(self.root).trial(TRIAL)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "s"))
        self._listener.listen(8)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.doomed"],
            stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def start(self, number: int, plan: tuple[CheckpointRef, ...], point: int, sent: int) -> Life:
        staging = self._folder / f"attempt-{number}"
        staging.mkdir()
        order = Order(
            report=str(self._folder / "s"), staging=str(staging), endpoint=self._minio.endpoint,
            access_key=self._minio.access_key, secret_key=self._minio.secret_key,
            bucket=self._minio.bucket, root=self.root, attempt=number,
            plan=tuple(map(str, plan)), point=point, signal=sent, saves=SAVES,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(order.line())
        self._process.stdin.flush()
        self._listener.settimeout(PATIENCE)
        life = Life(number, self._listener.accept()[0])
        soon(lambda: life.listen(0.05) and life.said("pid"), "its PID", PATIENCE, str)
        life.pid = int(life.said("pid")[0][0])
        return life

    def forget(self, life: Life) -> None:
        """The disk of a Pod goes with it."""
        shutil.rmtree(self._folder / f"attempt-{life.number}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0
        self._listener.close()


class Trial:
    """The operator's part: which checkpoints there are, and which of them count."""

    def __init__(self, zygote: Zygote, minio: Bucket) -> None:
        self._zygote = zygote
        self._bucket = minio.bucket
        self._client = Minio(
            minio.endpoint.removeprefix("http://"),
            access_key=minio.access_key, secret_key=minio.secret_key, secure=False,
        )  # fmt: skip
        self.state = TrialState(TRIAL, config={})
        self.acknowledged: CheckpointRef | None = None
        """The newest of all attempts when each was settled."""

    def settle(self, life: Life) -> None:
        """One LIST when the attempt is over or given up, as the operator does it."""
        listed = self._client.list_objects(
            self._bucket, self._zygote.keys.manifests(life.number), recursive=True
        )
        refs = [parse_manifest_key(entry.object_name or "") for entry in listed]
        committed = tuple(ref for ref in refs if ref is not None)
        assert set(life.acknowledged) <= set(committed), "an acknowledged checkpoint is gone"
        trial = TrialState(TRIAL, config={}, attempt=life.number, plan=self.state.plan)
        self.state = TrialState(TRIAL, config={}, plan=resume_plan(trial, committed))
        if life.acknowledged:
            self.acknowledged = life.acknowledged[-1]

    def judge(self, life: Life, plan: tuple[CheckpointRef, ...]) -> None:
        """What an attempt restored is the newest of its plan, whole, and old enough for nobody."""
        for text, digest in life.said("restored"):
            ref = CheckpointRef.parse(text)
            assert ref == plan[0]
            assert digest == digest_of(content_of(ref))
        if self.acknowledged is not None:
            assert plan, "acknowledged checkpoints, and a plan that says scratch"
            assert plan[0].iteration >= self.acknowledged.iteration


@pytest.fixture
def zygote(tmp_path: Path, minio: Bucket) -> Iterator[Zygote]:
    found = Zygote(tmp_path, minio)
    yield found
    found.close()


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_what_is_restored_was_committed_wherever_the_attempt_before_it_ended(
    zygote: Zygote, minio: Bucket
) -> None:
    chance = random.Random(SEED)
    trial = Trial(zygote, minio)
    zombies: list[tuple[Life, Revival]] = []
    kinds = {"killed": 0, "stopped": 0, "ended": 0}
    late = 0
    for number in range(1, ROUNDS + 1):
        plan = trial.state.plan
        revive(zombies, Revival.BEFORE_ITS_SUCCESSOR)
        sent = chance.choice([signal.SIGKILL, signal.SIGSTOP])
        by_the_clock = chance.random() < 0.5
        point = 0 if by_the_clock else chance.randint(1, POINTS)
        life = zygote.start(number, plan, point, sent)
        revive(zombies, Revival.BESIDE_ITS_SUCCESSOR)
        if by_the_clock:
            let_live(life, chance.uniform(0, LONGEST))
            life.signal(sent)
        soon(life.rest, f"the end of attempt {number} (seed {SEED})", PATIENCE, str)
        trial.judge(life, plan)
        trial.settle(life)
        revive(zombies, Revival.AFTER_ITS_SUCCESSOR)
        for zombie, _ in zombies:
            before = len(zombie.acknowledged)
            zombie.finish()
            late += len(zombie.acknowledged) - before
            zygote.forget(zombie)
        zombies.clear()
        if life.ended:
            kinds["ended" if life.said("done") else "killed"] += 1
            zygote.forget(life)
        else:
            kinds["stopped"] += 1
            zombies.append((life, chance.choice(list(Revival))))
    revive(zombies, *Revival)
    for zombie, _ in zombies:
        zombie.finish()
    last = zygote.start(ROUNDS + 1, trial.state.plan, 0, signal.SIGKILL)
    last.finish()
    trial.judge(last, trial.state.plan)
    assert last.said("done")
    assert len(last.acknowledged) == SAVES
    # The loop has met what it is about.
    assert kinds["killed"] >= ROUNDS // 8, kinds
    assert kinds["stopped"] >= ROUNDS // 8, kinds
    assert late >= ROUNDS // 20, "zombies committed too little for a proof"


def revive(zombies: list[tuple[Life, Revival]], *when: Revival) -> None:
    """Let those go on whose time it is."""
    for zombie, chosen in zombies:
        if chosen in when:
            zombie.signal(signal.SIGCONT)


def let_live(life: Life, seconds: float) -> None:
    """Listen so long, or until it ends."""
    deadline = time.monotonic() + seconds
    while not life.ended and (left := deadline - time.monotonic()) > 0:
        life.listen(left)
