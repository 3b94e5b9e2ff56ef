"""The operator is away for as long as an hour of results: none is lost, and training goes on."""

import subprocess
from typing import Any

import pytest

from tests.unit.trainer.build import KEYS
from tests.unit.trainer.http_server import Answer, Request
from tests.unit.trainer.operator_server import OperatorServer, error, session_response
from tests.unit.trainer.process import Gate, Trainer, record, succeeds
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.messages import CONTINUE, SESSION_PATH, Directive, ResultsRequest

HOUR = 3600
"""Results of an hour at one a second: what counts is how many, not how long they took."""

LONG = 120.0
"""Seconds in which a busy machine surely trains so often."""

pytestmark = pytest.mark.timeout(LONG * 2)

CONFIG = {
    "lr": 0.000123456789, "momentum": 0.9123456789, "batch_size": 128, "layers": 4,
    "activation": "relu", "weight_decay": 1.23456789e-05, "dropout": 0.123456789,
}  # fmt: skip

QUICK = """
import sys
from tune_trainer import runner
from tune_trainer.limits import Limits
runner.Limits = lambda: Limits(answer=0.2, complete=0.2%s)
sys.exit(runner.main(sys.argv[1:]))
"""
"""The trainer with less patience for an operator that is away, and perhaps less room."""


def away(request: Request) -> Answer | None:
    """Only the session was answered."""
    return None if request.path == SESSION_PATH else error(503, "NotReady")


def start(
    trainer: Trainer,
    operator: OperatorServer,
    s3: S3Server,
    *,
    iterations: int = HOUR,
    limits: str = "",
    **config: Any,
) -> subprocess.Popen[str]:
    operator.session = session_response(
        s3.endpoint,
        config=CONFIG | config,
        criteria={"training_iteration": float(iterations)},
        frequency=iterations // 2,
    )
    return trainer.start("counting:Telling", program=("-c", QUICK % limits))


def test_a_trainer_ends_without_the_operator_and_leaves_all_results_in_the_store(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.script = away
    succeeds(start(trainer, operator, s3), LONG)
    end = record(s3)
    assert (end.outcome, end.iteration) == (Outcome.COMPLETED, HOUR)
    assert [result.seq for result in end.results] == list(range(1, HOUR + 1))
    assert [result.metrics["value"] for result in end.results] == list(range(HOUR))
    assert {"config", "hostname", "time_total_s", "date"} <= end.results[0].metrics.keys()
    manifest = Manifest.from_bytes(s3.store.get(KEYS.manifest(CheckpointRef(1, HOUR))))
    assert manifest.results == end.results


def test_an_operator_that_comes_back_gets_each_result_once_and_in_order(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    arrived: list[int] = []

    def note(request: ResultsRequest) -> Directive:
        arrived.extend(result.seq for result in request.results)
        return CONTINUE

    operator.script = away
    operator.durable = True
    operator.directive = note
    process = start(trainer, operator, s3, gate=str(gate.folder))
    gate.open(*range(1, HOUR))
    operator.wait_until(lambda: gate.has_begun(HOUR), LONG)
    operator.script = None
    operator.wait_until(lambda: operator.received == HOUR - 1, LONG)
    assert arrived == list(range(1, HOUR))
    gate.open(HOUR)
    succeeds(process)
    assert [result.seq for result in record(s3).results] in ([], [HOUR])


def test_what_no_room_was_left_for_is_said(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.script = away
    stderr = succeeds(start(trainer, operator, s3, iterations=30, limits=", spool_results=10"))
    assert "the spool is full" in stderr
    end = record(s3)
    assert [result.seq for result in end.results] == [*range(1, 11), 30]
    assert end.message.endswith("; 19 results are missing: the operator was away for too long")
