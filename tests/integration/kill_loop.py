"""Attempts of one trial that are killed, or stopped and later revived, one after the other.

Each round is one attempt, whose fate is a card of a shuffled deck: both signals at every request
that an attempt makes, and a few at any time. After its end the resume plan is made as the operator
makes it, and the next attempt restores by it. Some attempts run a second time, and between the
rounds some checkpoints are damaged in the store.
"""

from __future__ import annotations

import contextlib
import io
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
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from minio import Minio

from tests.clusters import Bucket
from tests.integration.doomed import TRIAL, Edge, Order, Place, Point, content_of, digest_of
from tune_operator.lifecycle.settle import resume_plan
from tune_operator.lifecycle.trial_state import TrialState
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, parse_manifest_key
from tune_trainer.protocol.manifest import Manifest

SAVES = 3
"""Checkpoints an attempt saves when nothing happens to it; one of them has a file of two parts."""
TIMES = {Place.PUT_DATA: SAVES, Place.PUT_MANIFEST: SAVES, Place.PUT_PART: 2}
"""How often an attempt makes a request, where that is more than once."""
LONGEST_REQUEST = 0.01
LONGEST = 0.3
"""Seconds after which a signal comes at the latest: in a request, and by the clock."""
BY_THE_CLOCK = 3
"""Cards of each signal that come at any time of an attempt's life."""
TWINS = 1 / 3
"""Share of the attempts that run a second time, as a container may that is started again."""
DAMAGES = 1 / 2
"""Share of the attempts that leave no zombie after which the newest checkpoint is damaged."""
PATIENCE = 60.0


@dataclass(frozen=True)
class Fate:
    """What happens to an attempt: a signal at a point, or after so many seconds."""

    signal: int
    point: Point | None = None
    seconds: float = 0.0

    @property
    def commits(self) -> bool:
        """Whether it comes where the manifest is written."""
        return self.point is not None and self.point.place == Place.PUT_MANIFEST


def fates(chance: random.Random) -> Iterator[Fate]:
    """Deck after deck, each of all cards, the commits first."""
    while True:
        deck = []
        for sent in (signal.SIGKILL, signal.SIGSTOP):
            deck += [Fate(sent, point) for point in points(chance)]
            deck += [Fate(sent, None, chance.uniform(0, LONGEST)) for _ in range(BY_THE_CLOCK)]
        chance.shuffle(deck)
        deck.sort(key=lambda fate: not fate.commits)
        yield from deck


def points(chance: random.Random) -> Iterator[Point]:
    """Every request before it, and during or after it; the commit, on which all depends, before,
    during and after it."""
    for place in Place:
        later = chance.choice([Edge.DURING, Edge.AFTER])
        for edge in Edge if place is Place.PUT_MANIFEST else (Edge.BEFORE, later):
            nth = chance.randint(1, TIMES.get(place, 1))
            yield Point(place, edge, nth, chance.uniform(0, LONGEST_REQUEST))


class Revival(Enum):
    """When a stopped attempt goes on."""

    BEFORE_ITS_SUCCESSOR = auto()
    BESIDE_ITS_SUCCESSOR = auto()
    AFTER_ITS_SUCCESSOR = auto()


@dataclass
class Life:
    """One process of an attempt as it told of itself."""

    number: int
    plan: tuple[CheckpointRef, ...]
    staging: Path
    socket: socket.socket
    pid: int = 0
    twin: Life | None = None
    """Another process of the same attempt."""
    lines: list[list[str]] = field(default_factory=list)
    ended: bool = False
    _rest: bytes = b""

    def said(self, word: str) -> list[list[str]]:
        return [line[1:] for line in self.lines if line[0] == word]

    @property
    def acknowledged(self) -> set[CheckpointRef]:
        return {CheckpointRef.parse(ref) for [ref] in self.said("committed")}

    @property
    def restored(self) -> list[tuple[CheckpointRef, str]]:
        """What it restored, and the digest of that."""
        return [(CheckpointRef.parse(ref), digest) for ref, digest in self.said("restored")]

    @property
    def failure(self) -> str:
        """The name of the error that ended it."""
        return next((words[0] for words in self.said("failed")), "")

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

    def listen_for(self, seconds: float) -> None:
        """Listen so long, or until it ends."""
        deadline = time.monotonic() + seconds
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            self.listen(left)

    def come_to_rest(self) -> None:
        """Listen until it has ended, or is stopped."""
        deadline = time.monotonic() + PATIENCE
        while not self.ended and (self.listen(0.02) or not self.stopped or self.listen(0)):
            assert time.monotonic() < deadline, f"attempt {self.number} hangs: {self.lines}"

    def finish(self) -> None:
        """Listen until it has ended by itself."""
        while not self.ended:
            assert self.listen(PATIENCE), f"attempt {self.number} hangs: {self.lines}"

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if not self.ended:
                os.kill(self.pid, number)


class Zygote:
    """Starts attempts; see ``tests.integration.zygote``."""

    def __init__(self, folder: Path, minio: Bucket) -> None:
        self._folder = folder
        self._minio = minio
        self._lives: list[Life] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "s"))
        self._listener.listen(8)
        self._listener.settimeout(PATIENCE)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.zygote"],
            stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def start(
        self, root: str, number: int, plan: tuple[CheckpointRef, ...], fate: Fate | None,
        saves: int, broken: str,
    ) -> Life:  # fmt: skip
        """A process of this attempt of the run below ``root``; None: it is left alone."""
        staging = self._folder / f"process-{len(self._lives)}"
        staging.mkdir()
        order = Order(
            report=str(self._folder / "s"), staging=str(staging), endpoint=self._minio.endpoint,
            access_key=self._minio.access_key, secret_key=self._minio.secret_key,
            bucket=self._minio.bucket, root=root, attempt=number, plan=tuple(map(str, plan)),
            point=fate.point if fate else None, signal=fate.signal if fate else 0, saves=saves,
            broken=broken,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(order.line())
        self._process.stdin.flush()
        life = Life(number, plan, staging, self._listener.accept()[0])
        self._lives.append(life)
        while not life.said("pid"):
            assert life.listen(PATIENCE), f"attempt {number} does not say its PID"
            assert not life.ended
        life.pid = int(life.said("pid")[0][0])
        return life

    def forget(self, life: Life) -> None:
        """The disk of a Pod goes with it."""
        shutil.rmtree(life.staging)

    def close(self) -> None:
        for life in self._lives:  # those that are stopped would stay for ever
            life.signal(signal.SIGKILL)
            life.finish()
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0
        self._listener.close()


class Trial:
    """The operator's part: which checkpoints there are, and which of them count."""

    def __init__(self, root: str, minio: Bucket) -> None:
        self._keys = RunKeys(root).trial(TRIAL)
        self._bucket = minio.bucket
        self._client = Minio(
            minio.endpoint.removeprefix("http://"),
            access_key=minio.access_key, secret_key=minio.secret_key, secure=False,
        )  # fmt: skip
        self.plan: tuple[CheckpointRef, ...] = ()
        self.acknowledged: CheckpointRef | None = None
        """The newest of all attempts when each was settled."""
        self._committed: dict[CheckpointRef, str] = {}
        """Every manifest that was ever seen, with its ETag."""
        self._damaged: set[CheckpointRef] = set()

    def look(self) -> set[CheckpointRef]:
        """One LIST of all manifests. What is committed stays, and stays as it is."""
        entries = self._client.list_objects(self._bucket, self._keys.manifests(), recursive=True)
        found = {parse_manifest_key(e.object_name or ""): e.etag or "" for e in entries}
        committed = {ref: etag for ref, etag in found.items() if ref is not None}
        for ref, etag in self._committed.items():
            assert committed.get(ref) == etag, f"the committed checkpoint {ref} was overwritten"
        self._committed = committed
        return set(committed)

    def judge(self, life: Life) -> None:
        """What a process did until now. It fails nowhere but where it meets its twin."""
        assert life.failure in ("", "Fenced" if life.twin else ""), life.said("failed")
        for ref, digest in life.restored:
            assert digest == digest_of(content_of(ref)), f"what was restored is not {ref}"
            due = next(whole for whole in life.plan if whole not in self._damaged)
            assert ref == due, f"{ref} was restored instead of {due}"
        assert life.acknowledged <= self.look(), "an acknowledged checkpoint is not there"
        restored = {ref.iteration for ref, _ in life.restored}
        assert not restored & {ref.iteration for ref in life.acknowledged}, (
            "the iteration that was restored was committed again"
        )

    def settle(self, number: int, acknowledged: Iterable[CheckpointRef]) -> None:
        """Make the next plan when the attempt is over or given up, as the operator does it."""
        ended = TrialState(TRIAL, config={}, attempt=number, plan=self.plan)
        self.plan = resume_plan(ended, tuple(self.look()))
        self.acknowledged = max(acknowledged, default=self.acknowledged)
        if self.acknowledged is not None:
            assert self.acknowledged in self.plan, "an acknowledged checkpoint is not in the plan"
        assert list(self.plan) == sorted(self.plan, reverse=True), "older ones come first"

    def damage(self, chance: random.Random) -> bool:
        """Lose, cut or alter an object of the newest checkpoint that is whole, unless it is the
        last; whether that happened."""
        whole = [ref for ref in self.plan if ref not in self._damaged]
        if len(whole) < 2:
            return False
        manifest = Manifest.from_bytes(self._get(self._keys.manifest(whole[0])))
        prefix = self._keys.data(whole[0], manifest.nonce)
        entries = self._client.list_objects(self._bucket, prefix, recursive=True)
        keys = sorted(entry.object_name or "" for entry in entries)
        assert keys, f"the committed checkpoint {whole[0]} has no data"
        key = chance.choice(keys)
        content = self._get(key)
        match chance.choice(["lose", "cut", "alter"]):
            case "lose":
                self._client.remove_object(self._bucket, key)
            case "cut":
                self._put(key, content[:-1])
            case _:
                self._put(key, content[:-1] + bytes([content[-1] ^ 1]))
        self._damaged.add(whole[0])
        return True

    def _get(self, key: str) -> bytes:
        return self._client.get_object(self._bucket, key).data

    def _put(self, key: str, content: bytes) -> None:
        self._client.put_object(self._bucket, key, io.BytesIO(content), len(content))


class KillLoop:
    """All rounds; an AssertionError is a rule that was broken."""

    def __init__(self, zygote: Zygote, minio: Bucket, seed: int, broken: str = "") -> None:
        """``broken``: the rule that all attempts break; see ``tests.integration.careless``."""
        self._zygote = zygote
        self._chance = random.Random(seed)
        self._broken = broken
        self._root = f"kill-loop/{uuid.uuid4()}"
        self._trial = Trial(self._root, minio)
        self._zombies: list[tuple[Life, Revival]] = []  # of the round before
        self.met: Counter[str] = Counter()
        """What happened, by kind, and the requests at which a signal came."""

    def run(self, rounds: int) -> None:
        """So many attempts, and one that is left alone and must reach its end."""
        for number, fate in zip(range(1, rounds + 1), fates(self._chance), strict=False):
            self._round(number, fate)
        self._revive(*Revival)
        self._bury()
        last = self._start(rounds + 1, self._trial.plan)
        last.finish()
        self._trial.judge(last)
        assert last.said("done")
        assert len(last.acknowledged) == SAVES

    def _round(self, number: int, fate: Fate) -> None:
        self._revive(Revival.BEFORE_ITS_SUCCESSOR)
        life = self._start(number, self._trial.plan, fate)
        self._revive(Revival.BESIDE_ITS_SUCCESSOR)
        if fate.point is None:
            life.listen_for(fate.seconds)
            life.signal(fate.signal)
        life.come_to_rest()
        self._trial.judge(life)
        acknowledged = life.acknowledged
        if self._chance.random() < TWINS:
            acknowledged |= self._twin(life)
        self._trial.settle(number, acknowledged)
        self._revive(Revival.AFTER_ITS_SUCCESSOR)
        self._bury()
        self._count(life, fate)
        if not life.ended:
            self._zombies.append((life, self._chance.choice(list(Revival))))
            return
        self._zygote.forget(life)
        if self._chance.random() < DAMAGES:
            self.met["damaged"] += self._trial.damage(self._chance)

    def _start(
        self, number: int, plan: tuple[CheckpointRef, ...], fate: Fate | None = None,
        saves: int = SAVES,
    ) -> Life:  # fmt: skip
        return self._zygote.start(self._root, number, plan, fate, saves, self._broken)

    def _twin(self, life: Life) -> set[CheckpointRef]:
        """Run the attempt once more; what that acknowledged. One save shows whether it may."""
        twin = life.twin = self._start(life.number, life.plan, saves=1)
        twin.twin = life
        twin.finish()
        self._trial.judge(twin)
        self._zygote.forget(twin)
        self.met["fenced"] += bool(twin.failure)
        return twin.acknowledged

    def _revive(self, *when: Revival) -> None:
        """Let those go on whose time it is."""
        for zombie, chosen in self._zombies:
            if chosen in when:
                zombie.signal(signal.SIGCONT)

    def _bury(self) -> None:
        """Listen to the zombies until their end."""
        for zombie, _ in self._zombies:
            before = zombie.acknowledged
            zombie.finish()
            self._trial.judge(zombie)
            self._zygote.forget(zombie)
            self.met["committed too late"] += len(zombie.acknowledged - before)
        self._zombies.clear()

    def _count(self, life: Life, fate: Fate) -> None:
        kind = ("ended" if life.said("done") else "killed") if life.ended else "stopped"
        self.met[kind] += 1
        if kind != "ended" and fate.point is not None:
            self.met[fate.point.place] += 1
