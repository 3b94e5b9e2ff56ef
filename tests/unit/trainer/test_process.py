"""The whole trainer as a process, against an operator over HTTPS and a store over HTTP."""

from tests.unit.trainer.operator_server import ROOT, OperatorServer, session_response
from tests.unit.trainer.process import Trainer
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef, RunKeys

KEYS = RunKeys(ROOT).trial("00003")


def test_trains_to_the_criterion_and_completes(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, frequency=4, at_end=True)
    code, stderr = trainer.run("counting:Count")
    assert code == 0, stderr
    record = ExitRecord.from_bytes(s3.store.get(KEYS.exit_record(1)))
    assert (record.outcome, record.reason) == (Outcome.COMPLETED, "StoppedByCriteria")
    assert record.iteration == 10
    assert operator.completed == [record]
    assert sorted(operator.checkpoints)[-1] == CheckpointRef(1, 10)
