"""Results reach the operator in order, exactly once, and never hold up the training for long."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.unit.trainer.http_server import Answer, Request
from tests.unit.trainer.operator_server import OperatorServer, error
from tune_trainer.errors import Fenced
from tune_trainer.limits import Limits
from tune_trainer.operator_client import OperatorClient
from tune_trainer.protocol import fields
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.messages import (
    CONTINUE,
    RESULTS_PATH,
    Directive,
    DirectiveKind,
    ResultsRequest,
    ResultsResponse,
)
from tune_trainer.reporter import Reporter
from tune_trainer.spool import Spool

SLOW = 1.0
QUICK = 0.001
STOP = Directive(DirectiveKind.STOP, "s-1")
CHECKPOINT = Directive(DirectiveKind.CHECKPOINT, "c-1")
EXPLOIT = (
    b'{"version": 1, "received": %d, "durable": %d, "directive": {"type": "Exploit", "id": "e-1"}}'
)


class Reporters:
    """Makes reporters and stops them."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client
        self._made: list[Reporter] = []

    def make(self, limits: Limits | None = None) -> Reporter:
        limits = limits or Limits(quick_step=0.01)
        spool = Spool("value", "max", limits.spool_results, limits.spool_bytes)
        reporter = Reporter(self._client, 1, spool, limits)
        self._made.append(reporter)
        reporter.start()
        return reporter

    def stop(self) -> None:
        for reporter in self._made:
            reporter.stop(20.0)


@pytest.fixture
def reporters(client: OperatorClient) -> Iterator[Reporters]:
    found = Reporters(client)
    yield found
    found.stop()


def request_of(request: Request) -> ResultsRequest:
    return ResultsRequest.from_bytes(request.body)


def sequences(operator: OperatorServer) -> list[list[int]]:
    """Sequences in each request for results."""
    return [
        [result.seq for result in request_of(request).results]
        for request in operator.requests
        if request.path == RESULTS_PATH
    ]


def test_a_slow_step_waits_for_its_answer(operator: OperatorServer, reporters: Reporters) -> None:
    reporter = reporters.make()
    for value in range(3):
        reporter.add({"value": value})
        assert reporter.answer(SLOW) == CONTINUE
        assert operator.received == value + 1
    assert sequences(operator) == [[1], [2], [3]]


def test_what_is_durable_is_kept_no_longer(operator: OperatorServer, reporters: Reporters) -> None:
    reporter = reporters.make()
    reporter.add({"value": 1})
    reporter.answer(SLOW)
    assert [result.seq for result in reporter.undurable()] == [1]
    operator.durable = True
    reporter.add({"value": 2})
    reporter.answer(SLOW)
    assert reporter.undurable() == ()


def test_quick_steps_are_sent_together(operator: OperatorServer, reporters: Reporters) -> None:
    held = threading.Event()

    def hold(request: Request) -> None:
        assert held.wait(20)

    operator.script = hold
    reporter = reporters.make()
    for value in range(100):
        reporter.add({"value": value})
        reporter.answer(QUICK)  # returns at once: the operator answers nothing yet
    held.set()
    operator.wait_until(lambda: operator.received == 100)
    sent = sequences(operator)
    assert len(sent) <= 3
    assert [seq for request in sent for seq in request] == list(range(1, 101))


def test_a_backlog_of_quick_steps_waits(operator: OperatorServer, reporters: Reporters) -> None:
    reporter = reporters.make(Limits(quick_backlog=5, quick_step=0.01))
    for value in range(50):
        reporter.add({"value": value})
        reporter.answer(QUICK)
        assert value + 1 - operator.received <= 5


def test_a_silent_operator_holds_up_one_step_only(
    operator: OperatorServer, reporters: Reporters
) -> None:
    silent = True

    def script(request: Request) -> Answer | None:
        return error(503, "NotReady") if silent else None

    operator.script = script
    reporter = reporters.make(Limits(answer=0.05, quick_step=0.01))
    for value in range(20):
        reporter.add({"value": value})
        reporter.answer(SLOW)
    assert operator.received == 0
    silent = False
    operator.wait_until(lambda: operator.received == 20)
    assert sorted(operator.results) == list(range(1, 21))


def test_an_operator_that_takes_nothing_holds_up_no_step_and_is_not_pressed(
    operator: OperatorServer, reporters: Reporters, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Answer(200, fields.dump(ResultsResponse(0, 0).to_json()))
    operator.script = lambda request: stuck
    reporter = reporters.make(Limits(answer=60.0, quick_step=0.01))
    for value in range(3):
        reporter.add({"value": value})
        reporter.answer(SLOW)
    operator.wait_until(lambda: len(operator.requests) > 1)
    operator.script = None
    operator.wait_until(lambda: sorted(operator.results) == [1, 2, 3])
    assert "the operator takes none of them now; trying again in" in caplog.text
    reporter.add({"value": 3})
    reporter.answer(SLOW)
    assert operator.received == 4


def test_a_restarted_operator_is_told_again(operator: OperatorServer, reporters: Reporters) -> None:
    reporter = reporters.make()
    for value in range(4):
        operator.durable = value == 1
        reporter.add({"value": value})
        reporter.answer(SLOW)
    operator.restart()
    reporter.add({"value": 4})
    operator.wait_until(lambda: sorted(operator.results) == [1, 2, 3, 4, 5])
    assert sequences(operator)[-2:] == [[5], [3, 4, 5]]
    assert [result.seq for result in reporter.undurable()] == [3, 4, 5]


def test_a_restarted_operator_is_told_of_the_newest_checkpoint_again(
    operator: OperatorServer, reporters: Reporters
) -> None:
    reporter = reporters.make()
    for iteration in (5, 6):
        reporter.committed(CheckpointRef(1, iteration))
    operator.wait_until(lambda: CheckpointRef(1, 6) in operator.checkpoints)
    operator.checkpoints.clear()
    reporter.add({"value": 1})
    operator.wait_until(lambda: operator.received == 1)
    assert operator.checkpoints == [CheckpointRef(1, 6)]


def test_checkpoints_are_told_without_results(
    operator: OperatorServer, reporters: Reporters
) -> None:
    reporter = reporters.make()
    reporter.committed(CheckpointRef(1, 5))
    operator.wait_until(lambda: operator.checkpoints == [CheckpointRef(1, 5)])


def test_checkpoints_not_told_are_returned_at_the_end(client: OperatorClient) -> None:
    reporter = Reporter(client, 1, Spool("value", "max", 10, 1000), Limits())
    reporter.committed(CheckpointRef(1, 5))
    assert reporter.stop(1.0) == (CheckpointRef(1, 5),)


def test_a_replaced_attempt_is_fenced(operator: OperatorServer, reporters: Reporters) -> None:
    operator.script = lambda request: error(401, "Outdated")
    reporter = reporters.make()
    reporter.add({"value": 1})
    with pytest.raises(Fenced, match="Outdated says the test"):
        reporter.answer(SLOW)
    assert reporter.fenced
    with pytest.raises(Fenced):
        reporter.add({"value": 2})


@pytest.mark.parametrize("status", [400, 413])
def test_refused_results_do_not_block_the_next(
    operator: OperatorServer, reporters: Reporters, status: int
) -> None:
    refusals = iter([error(status, "BadRequest")])
    operator.script = lambda request: next(refusals, None)
    reporter = reporters.make(Limits(answer=0.05, quick_step=0.01))
    reporter.add({"value": 1})
    reporter.answer(SLOW)
    operator.wait_until(lambda: len(operator.requests) == 1)
    reporter.add({"value": 2})
    operator.wait_until(lambda: operator.received == 2)
    assert [result.seq for result in reporter.undurable()] == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b'{"version": 1, "received": 1, "durable": 1, "directive": {"type": "Stop"}}'),
        Answer(200, b"no json"),
        Answer(404, b"another service"),
        error(429, "TooManyRequests", {"Retry-After": "0"}),
        error(500, "Internal"),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again(
    operator: OperatorServer, reporters: Reporters, answer: Answer
) -> None:
    answers = iter([answer])
    operator.script = lambda request: next(answers, None)
    reporter = reporters.make()
    reporter.add({"value": 1})
    assert reporter.answer(SLOW) == CONTINUE
    assert sequences(operator) == [[1], [1]]


def test_the_end_hurries_a_waiting_step(operator: OperatorServer, reporters: Reporters) -> None:
    held = threading.Event()

    def hold(request: Request) -> None:
        assert held.wait(20)

    operator.script = hold
    reporter = reporters.make(replace(Limits(), answer=60.0))
    reporter.add({"value": 1})
    threading.Timer(0.05, reporter.hurry).start()
    assert reporter.answer(SLOW) == CONTINUE
    held.set()


def test_the_token_is_read_each_time(
    operator: OperatorServer, client: OperatorClient, reporters: Reporters
) -> None:
    client._token_file.unlink()
    reporter = reporters.make(Limits(answer=0.05, quick_step=0.01))
    reporter.add({"value": 1})
    reporter.answer(SLOW)
    assert operator.requests == []
    client._token_file.write_text("a-token-of-the-pod")
    operator.wait_until(lambda: operator.received == 1)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        pytest.param([STOP], STOP, id="stop"),
        pytest.param([STOP, CONTINUE], STOP, id="a stop stands"),
        pytest.param([STOP, Directive(DirectiveKind.STOP, "s-2")], STOP, id="the first stop"),
        pytest.param([CHECKPOINT, STOP], STOP, id="a stop after a checkpoint"),
        pytest.param([CHECKPOINT], CHECKPOINT, id="checkpoint"),
        pytest.param([CHECKPOINT, CONTINUE], CONTINUE, id="a checkpoint is withdrawn"),
    ],
)
def test_the_last_word_counts_and_a_stop_is_one(
    operator: OperatorServer, reporters: Reporters, said: list[Directive], heard: Directive
) -> None:
    operator.durable = True
    operator.directive = lambda request: said[request.seq - 1]
    reporter = reporters.make()
    for value in range(len(said)):
        reporter.add({"value": value})
        operator.wait_until(lambda: reporter.undurable() == ())
    assert reporter.answer(SLOW) == heard


@pytest.mark.parametrize("directive", [STOP, CHECKPOINT], ids=["stop", "checkpoint"])
def test_a_quick_step_hears_what_an_earlier_answer_said(
    operator: OperatorServer, reporters: Reporters, directive: Directive
) -> None:
    operator.durable = True
    operator.directive = lambda request: directive
    reporter = reporters.make()
    reporter.add({"value": 1})
    operator.wait_until(lambda: reporter.undurable() == ())
    operator.script = lambda request: error(503, "NotReady")
    for value in range(10):
        reporter.add({"value": value})
        assert reporter.answer(QUICK) == directive


def test_a_directive_is_heard_after_an_outage(
    operator: OperatorServer, reporters: Reporters
) -> None:
    operator.script = lambda request: error(503, "NotReady")
    operator.directive = lambda request: STOP
    reporter = reporters.make(Limits(answer=0.05, quick_step=0.01))
    reporter.add({"value": 1})
    assert reporter.answer(SLOW) == CONTINUE
    operator.script = None
    operator.wait_until(lambda: reporter.answer(SLOW) == STOP)


def test_a_directive_is_heard_with_the_answer_to_a_checkpoint(
    operator: OperatorServer, reporters: Reporters
) -> None:
    operator.directive = lambda request: STOP if request.checkpoints else CONTINUE
    reporter = reporters.make()
    reporter.add({"value": 1})
    assert reporter.answer(SLOW) == CONTINUE
    reporter.committed(CheckpointRef(1, 1))
    operator.wait_until(lambda: reporter.answer(QUICK) == STOP)


def test_who_is_stopped_waits_for_no_answer(operator: OperatorServer, reporters: Reporters) -> None:
    operator.directive = lambda request: STOP
    reporter = reporters.make(replace(Limits(), answer=60.0))
    reporter.add({"value": 1})
    assert reporter.answer(SLOW) == STOP
    operator.script = lambda request: error(503, "NotReady")
    reporter.add({"value": 2})
    assert reporter.answer(SLOW) == STOP
    assert 2 not in operator.results


def test_what_a_newer_operator_says_is_noted_once(
    operator: OperatorServer, reporters: Reporters, caplog: pytest.LogCaptureFixture
) -> None:
    operator.script = lambda request: Answer(200, EXPLOIT % ((request_of(request).seq,) * 2))
    reporter = reporters.make()
    with caplog.at_level(logging.WARNING):
        for value in range(3):
            reporter.add({"value": value})
            assert reporter.answer(SLOW).kind is DirectiveKind.CONTINUE
    assert reporter.undurable() == ()
    assert [record.getMessage() for record in caplog.records] == [
        "the operator says 'Exploit', which this version does not know: going on"
    ]
