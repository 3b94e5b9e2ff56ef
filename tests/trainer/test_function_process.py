"""Functions in a trainer of their own process: signals, forks and what does not want to end."""

import signal

from tests.unit.trainer.attempts import Attempts
from tests.unit.trainer.build import KEYS
from tests.unit.trainer.operator_server import OperatorServer, error, session_response
from tests.unit.trainer.process import (
    HASTY,
    Gate,
    Trainer,
    checkpoints,
    ended,
    has_record,
    interrupt,
    record,
    succeeds,
)
from tests.unit.trainer.s3_server import BUCKET, S3Server
from tests.unit.trainer.trainables.functions import count
from tune_trainer.function import wrap
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef


def test_a_signal_is_told_and_the_checkpoint_reported_then_is_kept(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    process = trainer.waiting("functions:count", gate, after=2)
    interrupt(process)
    gate.open(3)
    succeeds(process)
    end = record(s3)
    assert (end.outcome, end.signal, end.iteration) == (Outcome.INTERRUPTED, "SIGTERM", 3)
    assert checkpoints(s3) == [CheckpointRef(1, 3)]
    assert operator.completed == [end]
    assert not gate.has_begun(4)
    (session,) = operator.sessions
    assert (session.can_save, session.can_load) == (True, True)


def test_a_signal_that_crosses_with_a_report_costs_one_more_iteration(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    process = trainer.waiting("functions:late", gate, after=0)  # it has asked, and was told no
    interrupt(process)
    gate.open(1, 2)
    succeeds(process)
    assert (record(s3).outcome, record(s3).iteration) == (Outcome.INTERRUPTED, 2)
    assert checkpoints(s3) == [CheckpointRef(1, 2)]
    assert not gate.has_begun(3)


def test_a_signal_ends_a_function_that_never_saves_at_its_report(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    process = trainer.waiting("functions:unsaved", gate, after=0)
    interrupt(process)
    gate.open_all()
    succeeds(process)
    assert (record(s3).outcome, record(s3).iteration) == (Outcome.INTERRUPTED, 1)
    assert checkpoints(s3) == []


def test_a_function_that_outlasts_the_grace_is_given_up(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config | {"every": 1})
    process = trainer.waiting("functions:count", gate, after=1, grace=1.0)
    operator.wait_until(lambda: CheckpointRef(1, 1) in operator.checkpoints)
    process.send_signal(signal.SIGTERM)
    succeeds(process)
    assert (record(s3).outcome, record(s3).iteration) == (Outcome.INTERRUPTED, 1)
    assert checkpoints(s3) == [CheckpointRef(1, 1)]


def test_what_nothing_ends_keeps_neither_the_end_nor_the_process(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, criteria={"training_iteration": 2.0})
    stderr = succeeds(trainer.start("functions:deaf", program=("-c", HASTY)))
    assert "cleanup() still runs" in stderr
    assert operator.completed == [record(s3)]


def test_workers_can_be_stopped_but_cannot_report(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint)
    code, stderr = trainer.run("functions:forks")
    assert code == 0, stderr
    assert [result.metrics["value"] for result in record(s3).results] == [7]


def test_another_trial_s_checkpoint_is_read_with_the_pod_s_keys(
    operator: OperatorServer, s3: S3Server, attempts: Attempts, trainer: Trainer
) -> None:
    attempts.run(wrap(count), config={"start": 0, "last": 2, "every": 2})
    uri = f"s3://{BUCKET}/{KEYS.manifest(CheckpointRef(1, 2))}"
    operator.session = session_response(s3.endpoint, attempt=2, config={"from": uri})
    code, stderr = trainer.run("functions:begins_with_another", attempt=2)
    assert code == 0, stderr
    assert [result.metrics["value"] for result in record(s3, 2).results] == [40]


def test_a_replaced_attempt_leaves_at_its_report(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, criteria={})
    process = trainer.waiting("functions:count", gate, after=1)
    operator.script = lambda request: error(401, "Outdated")
    gate.open_all()
    code, stderr = ended(process)
    assert code == 75, stderr
    assert not has_record(s3)
