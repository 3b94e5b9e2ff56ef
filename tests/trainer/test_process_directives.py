"""Stop and Checkpoint, and operators that restart, against the whole trainer as a process."""

import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.polling import soon
from tests.unit.trainer.directives import CHECKPOINT, STOP, AskedFrom
from tests.unit.trainer.operator_server import WAIT, OperatorServer, session_response
from tests.unit.trainer.process import (
    Gate,
    Trainer,
    checkpoints,
    interrupt,
    record,
    says,
    succeeds,
    values,
)
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.messages import CONTINUE, Directive, ResultsRequest


def heard_in(
    gate: Gate, iteration: int, directive: Callable[[ResultsRequest], Directive]
) -> Callable[[ResultsRequest], Directive]:
    """The directive once this iteration has begun: an operator may answer before it does."""

    def answer(request: ResultsRequest) -> Directive:
        found = directive(request)
        if found is not CONTINUE:
            what = f"iteration {iteration} begins"
            soon(lambda: gate.has_begun(iteration) or None, what, WAIT, str)
        return found

    return answer


@pytest.mark.parametrize("at_end", [True, False], ids=["saves at its end", "does not save"])
def test_a_stop_ends_the_trial_with_its_iteration(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate, *, at_end: bool
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, at_end=at_end)
    operator.directive = heard_in(gate, 3, AskedFrom(2, STOP))
    process = trainer.start("counting:Count")
    gate.open(1, 2)
    says(process, "Stop (s-1)")
    gate.open_all()
    succeeds(process)
    end = record(s3)
    assert (end.outcome, end.reason, end.directive) == (
        Outcome.STOPPED, "StoppedByDirective", "s-1",
    )  # fmt: skip
    assert (end.iteration, end.signal) == (3, "")
    assert [result.metrics["value"] for result in end.results] == values(3)
    assert checkpoints(s3) == ([CheckpointRef(1, 3)] if at_end else [])
    assert operator.completed == [end]
    assert operator.checkpoints == checkpoints(s3)
    assert not gate.has_begun(4)


def test_a_stop_reaches_a_trial_of_quick_steps(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, criteria={"training_iteration": 1e6})
    operator.directive = AskedFrom(50, STOP)
    code, stderr = trainer.run("counting:Tick")
    assert code == 0, stderr
    end = record(s3)
    assert (end.outcome, end.directive) == (Outcome.STOPPED, "s-1")
    assert end.last_result is not None
    assert [result.seq for result in end.results] == list(range(1, end.last_result.seq + 1))


def test_a_signal_after_a_stop_changes_nothing(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, frequency=2, at_end=True)
    # Heard with the answer to the checkpoint, while the third iteration runs.
    operator.directive = heard_in(gate, 3, saved_stops)
    process = trainer.start("counting:Count")
    gate.open(1, 2)
    says(process, "Stop (s-1)")
    interrupt(process)
    gate.open_all()
    succeeds(process)
    end = record(s3)
    assert (end.outcome, end.directive, end.signal) == (Outcome.STOPPED, "s-1", "")
    assert operator.completed == [end]
    assert end.iteration == 3
    assert checkpoints(s3) == [CheckpointRef(1, 2), CheckpointRef(1, 3)]


def test_an_iteration_that_outlasts_the_grace_is_given_up_although_a_stop_was_heard(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, frequency=2)
    operator.directive = heard_in(gate, 3, saved_stops)
    process = trainer.start("counting:Count", grace=1.0)
    gate.open(1, 2)
    says(process, "Stop (s-1)")
    process.send_signal(signal.SIGTERM)
    succeeds(process)
    end = record(s3)
    assert (end.outcome, end.directive, end.signal) == (Outcome.INTERRUPTED, "", "SIGTERM")
    assert end.iteration == 2


def test_a_checkpoint_is_made_and_told_at_once_and_training_goes_on(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    operator.directive = heard_in(gate, 3, AskedFrom(2, CHECKPOINT))  # and never withdrawn
    process = trainer.start("counting:Count")
    gate.open(1, 2)
    says(process, "Checkpoint (c-1)")
    gate.open(3)
    operator.wait_until(lambda: operator.checkpoints == [CheckpointRef(1, 3)])
    assert not gate.has_begun(5)  # told while the fourth iteration runs
    gate.open_all()
    succeeds(process)
    assert (record(s3).outcome, record(s3).iteration) == (Outcome.COMPLETED, 10)
    assert checkpoints(s3) == [CheckpointRef(1, 3)]


def test_operators_that_restart_lose_no_result(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, at_end=True)
    process = trainer.start("counting:Count")
    for iteration in range(1, 10):
        operator.durable = iteration in {2, 3, 6}
        gate.open(iteration)
        takes_all_until(operator, iteration)
        if iteration in {4, 5, 8}:
            operator.restart()
    gate.open_all()
    succeeds(process)
    assert sorted(operator.journal) == [1, 2, 3, 4, 5, 6]
    assert [result.seq for result in record(s3).results] == [7, 8, 9, 10]


def test_an_end_with_more_results_than_a_request_holds_leaves_them_in_the_store(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, criteria={"training_iteration": 1000.0})
    code, stderr = trainer.run("counting:Tick")
    assert code == 0, stderr
    end = record(s3)
    assert [result.seq for result in end.results] == list(range(1, 1001))
    assert operator.completed == [replace(end, results=(), last_result=None)]


def saved_stops(request: ResultsRequest) -> Directive:
    return STOP if request.checkpoints else CONTINUE


def takes_all_until(operator: OperatorServer, seq: int) -> None:
    """Wait until the operator has all results up to this one."""
    operator.wait_until(lambda: sorted(operator.results) == list(range(1, seq + 1)))
