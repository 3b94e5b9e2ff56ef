"""The watch over the metadata servers: what it knows, that nobody waits for it, and who saves."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.polling import soon
from tests.unit.trainer.http_server import Answer, Request, Server
from tests.unit.trainer.metadata_server import AwsServer, AzureServer, GcpServer, azure_event
from tests.unit.trainer.operator_server import WAIT, OperatorServer, session_response
from tests.unit.trainer.process import (
    NO_METADATA,
    Gate,
    Trainer,
    checkpoints,
    interrupt,
    record,
    says,
    succeeds,
)
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.metadata import Aws, Azure, Gcp
from tune_trainer.preemption import LONGEST_PAUSE, Source, Watch
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef


class Pauses:
    """Lets polls follow each other at once, and ends the threads after the test."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return self.over.wait(0.002)


@pytest.fixture
def pauses() -> Iterator[Pauses]:
    found = Pauses()
    yield found
    found.over.set()


@pytest.fixture
def slow() -> Iterator[Server]:
    """Answers nobody before the test is over."""
    over = threading.Event()

    def behave(request: Request) -> Answer | None:
        over.wait(WAIT)
        return None

    server = Server(behave)
    yield server
    over.set()
    server.stop()


def watching(pauses: Pauses, *sources: Source, seconds: float = 5.0) -> Watch:
    watch = Watch(sources, 1.0, pauses.wait)
    watch.start(seconds)
    return watch


def notices(watch: Watch, name: str) -> None:
    come_true(lambda: watch.notice() == name, f"the notice {name!r}")


def come_true(what: Callable[[], bool], name: str) -> None:
    soon(lambda: what() or None, name, WAIT, lambda: "it did not come")


def test_a_notice_comes_and_may_be_withdrawn(pauses: Pauses, aws: AwsServer) -> None:
    watch = watching(pauses, Aws(aws.url))
    assert watch.notice() == ""
    aws.action = {"action": "terminate"}
    notices(watch, "AWS")
    aws.action = None
    notices(watch, "")


def test_a_notice_outlasts_its_server(pauses: Pauses) -> None:
    server = GcpServer()
    server.preempted = "TRUE"
    watch = watching(pauses, Gcp(server.url))
    assert watch.notice() == "GCP"  # the first answer was waited for
    server.stop()
    before = len(pauses.asked)
    come_true(lambda: len(pauses.asked) > before + 3, "more polls")
    assert watch.notice() == "GCP"


def test_who_never_answers_is_asked_ever_less(
    pauses: Pauses, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = watching(pauses, Aws("http://127.0.0.1:1"))
    come_true(lambda: LONGEST_PAUSE in pauses.asked, "the longest pause")
    assert pauses.asked[:3] == [2.0, 4.0, 8.0]
    assert max(pauses.asked) == LONGEST_PAUSE
    assert watch.notice() == ""
    assert capfd.readouterr() == ("", "")


def test_a_slow_server_holds_up_neither_the_caller_nor_the_others(
    pauses: Pauses, aws: AwsServer, slow: Server
) -> None:
    began = time.monotonic()
    watch = watching(pauses, Gcp(slow.url), Aws(aws.url), Azure(slow.url), seconds=0.05)
    assert time.monotonic() - began < 2.0, "it waited for the time-out of a slow server"
    aws.action = {"action": "stop"}
    notices(watch, "AWS")


DETECTING = """
import os, sys, time
from tune_trainer import detect_instance_preemption

def within(seconds):
    deadline = time.monotonic() + seconds
    while not detect_instance_preemption() and time.monotonic() < deadline:
        time.sleep(0.005)
    return detect_instance_preemption()

began = time.monotonic()
detect_instance_preemption()
first = time.monotonic() - began
found = within(float(sys.argv[1]))
rounds = 1000
began = time.monotonic()
for _ in range(rounds):
    detect_instance_preemption()
each = (time.monotonic() - began) / rounds
worker = os.fork()
if worker == 0:
    os._exit(within(float(sys.argv[1])))
in_worker = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
from tune_trainer import preemption
preemption.terminating()
print(found, first < 2.0, each < 0.01, bool(in_worker), detect_instance_preemption())
"""


def detected(seconds: float, **endpoints: str) -> list[str]:
    """Of a new process: whether it is found in time, the first call is quick, every other one is, a
    forked worker finds it in time, and whether it is found after SIGTERM."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DETECTING, str(seconds)],
        env={**os.environ, **NO_METADATA, **endpoints},
        check=True, capture_output=True, text=True, timeout=WAIT,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_nothing_is_detected_where_there_is_no_cloud() -> None:
    assert detected(0.0, TUNE_METADATA_AWS="http://127.0.0.1:1") == [
        "False",
        "True",
        "True",
        "False",
        "True",
    ]


def test_nobody_waits_for_a_slow_server(slow: Server) -> None:
    found = detected(0.0, TUNE_METADATA_AWS=slow.url, TUNE_METADATA_GCP=slow.url)
    assert found == ["False", "True", "True", "False", "True"]


def test_an_announced_end_is_detected_in_workers_too() -> None:
    azure = AzureServer()
    azure.events = [azure_event("Preempt", azure.machine)]
    assert detected(10.0, TUNE_METADATA_AZURE=azure.url) == ["True", "True", "True", "True", "True"]
    azure.stop()


def test_an_announced_end_is_saved_once_and_training_goes_on(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate, aws: AwsServer
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    more = {"TUNE_METADATA_AWS": aws.url}
    process = trainer.waiting("counting:Count", gate, after=1, more=more)
    aws.action = {"action": "terminate", "time": "2026-09-18T08:22:00Z"}
    says(process, "AWS announces the end of this machine")
    gate.open(2, 3, 4)
    operator.wait_until(lambda: operator.checkpoints == [CheckpointRef(1, 2)])
    operator.wait_until(lambda: operator.received == 4 and gate.has_begun(5))
    interrupt(process)
    gate.open(5)
    succeeds(process)
    assert record(s3).outcome is Outcome.INTERRUPTED
    assert checkpoints(s3) == [CheckpointRef(1, 2), CheckpointRef(1, 5)]


@pytest.mark.parametrize(
    ("entrypoint", "saved"),
    [
        pytest.param("counting:Count", [], id="by nobody"),
        pytest.param("counting:Careful", [CheckpointRef(1, 2)], id="but by the trainable itself"),
    ],
)
def test_on_preemption_false_saves_on_no_signal(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate, aws: AwsServer,
    entrypoint: str, saved: list[CheckpointRef],
) -> None:  # fmt: skip
    operator.session = session_response(s3.endpoint, config=gate.config, on_preemption=False)
    process = trainer.waiting(entrypoint, gate, after=1, more={"TUNE_METADATA_AWS": aws.url})
    process.send_signal(signal.SIGTERM)
    says(process, "SIGTERM")
    gate.open(2)
    succeeds(process)
    end = record(s3)
    assert (end.outcome, end.signal, end.iteration) == (Outcome.INTERRUPTED, "SIGTERM", 2)
    assert checkpoints(s3) == saved
    asked = bool(aws.requests)
    assert asked is (entrypoint == "counting:Careful")  # nobody asks who needs no answer
