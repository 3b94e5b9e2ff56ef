"""Signals to the whole trainer: what the grace is used for, who gets them, and process 1."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import soon
from tests.unit.trainer.memory_store import MemoryStore
from tests.unit.trainer.operator_server import WAIT, OperatorServer, session_response
from tests.unit.trainer.process import (
    Gate,
    Trainer,
    checkpoints,
    ended,
    has_record,
    interrupt,
    record,
    says,
    succeeds,
)
from tests.unit.trainer.s3_server import S3Server
from tests.unit.trainer.terminal import Terminal
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.store.base import Data

AS_PROCESS_1 = """
import ctypes, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
from tune_trainer import init
init.become()
from tune_trainer.runner import main
sys.exit(main(sys.argv[1:]))
"""
BELOW_PROCESS_1 = ("-c", AS_PROCESS_1)
"""The trainer below a parent that gets all orphans, as process 1 does."""


class Held(MemoryStore):
    """Keeps whoever writes data waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.gate = threading.Event()

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        if "/d/" in key:
            self.reached.set()
            assert self.gate.wait(WAIT)
        super().put(key, data, sha256)


@pytest.fixture
def held(s3: S3Server) -> Iterator[Held]:
    s3.store = store = Held()
    yield store
    store.gate.set()


def test_an_upload_that_runs_is_finished_when_the_iteration_does_not_fit(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, held: Held, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, frequency=1)
    gate.open_all()
    process = trainer.start("counting:Slow", grace=2.0)
    assert held.reached.wait(WAIT)
    operator.wait_until(lambda: gate.has_begun(2))  # iteration 1 took three seconds
    process.send_signal(signal.SIGTERM)
    says(process, "not waiting for it")
    held.gate.set()
    succeeds(process)
    assert (record(s3).outcome, record(s3).iteration) == (Outcome.INTERRUPTED, 1)
    assert checkpoints(s3) == [CheckpointRef(1, 1)]


def test_an_upload_that_runs_is_finished_before_the_last_save(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, held: Held, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, frequency=1)
    process = trainer.waiting("counting:Count", gate, after=1)
    assert held.reached.wait(WAIT)
    interrupt(process)
    gate.open(2)
    held.gate.set()
    succeeds(process)
    assert checkpoints(s3) == [CheckpointRef(1, 1), CheckpointRef(1, 2)]


def test_a_terminal_s_interrupt_leaves_the_workers_to_the_last_iteration(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    terminal = Terminal(
        [sys.executable, "-m", "tune_trainer", "counting:Workers"], trainer.environ()
    )
    try:
        gate.open(1)
        operator.wait_until(lambda: operator.received == 1 and gate.has_begun(2))
        terminal.press("\x03")
        operator.wait_until(lambda: "SIGINT: saving" in terminal.shown)
        gate.open(2)
        assert terminal.ended(WAIT) == 0, terminal.shown
        end = record(s3)
        assert (end.outcome, end.signal, end.iteration) == (Outcome.INTERRUPTED, "SIGINT", 2)
        assert checkpoints(s3) == [CheckpointRef(1, 2)]
        assert "Error" not in terminal.shown
    finally:
        terminal.close()


def test_a_terminal_s_second_interrupt_ends_at_once(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    program = [sys.executable, *BELOW_PROCESS_1, "counting:Workers"]
    terminal = Terminal(program, trainer.environ())
    try:
        operator.wait_until(lambda: gate.has_begun(1))
        terminal.press("\x03")
        operator.wait_until(lambda: "SIGINT: saving" in terminal.shown)
        assert terminal.process.poll() is None  # it was one, although two processes got it
        terminal.press("\x03")
        assert terminal.ended(WAIT) == 130
        assert not has_record(s3)
    finally:
        terminal.close()


def test_orphans_are_reaped_and_the_user_s_children_are_left_to_him(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    process = trainer.waiting("counting:Orphans", gate, after=2, program=BELOW_PROCESS_1)
    orphans = [int(result.metrics["orphan"]) for result in operator.results.values()]
    assert len(orphans) == 2
    left = [Path(f"/proc/{pid}") for pid in orphans]
    soon(
        lambda: not any(path.exists() for path in left) or None,
        "reaped", WAIT, lambda: f"{orphans}",
    )  # fmt: skip
    interrupt(process)
    gate.open(3)
    succeeds(process)
    assert (record(s3).outcome, record(s3).signal) == (Outcome.INTERRUPTED, "SIGTERM")


@pytest.mark.parametrize(
    ("entrypoint", "code"), [("counting:Tick", 0), ("counting:Raises", 1), ("counting:Forks", 0)]
)
def test_process_1_ends_as_the_trainer_does(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, entrypoint: str, code: int
) -> None:
    operator.session = session_response(s3.endpoint, criteria={"training_iteration": 3.0})
    ended_with, stderr = ended(trainer.start(entrypoint, program=BELOW_PROCESS_1))
    assert ended_with == code, stderr
    assert operator.completed == [record(s3)]


def test_process_1_tells_the_signal_that_killed_the_trainer(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    process = trainer.waiting("counting:Count", gate, after=0, program=BELOW_PROCESS_1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    assert re.fullmatch(r"\d+ ", children)
    os.kill(int(children), signal.SIGKILL)
    assert ended(process)[0] == 137
