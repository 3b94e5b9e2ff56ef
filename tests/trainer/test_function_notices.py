"""Functions and the end of their machine: who tells them to save, and a laptop that runs one."""

import json
import signal

import pytest

from tests.trainer.laptop import Laptop
from tests.unit.trainer.metadata_server import AwsServer
from tests.unit.trainer.operator_server import OperatorServer, session_response
from tests.unit.trainer.process import (
    Gate,
    Trainer,
    checkpoints,
    interrupt,
    record,
    says,
    succeeds,
)
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.errors import AttemptFailed
from tune_trainer.function import wrap
from tune_trainer.loop import require_checkpoints
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef


def test_an_announced_end_is_told_until_a_checkpoint_is_reported(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate, aws: AwsServer
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    more = {"TUNE_METADATA_AWS": aws.url}
    process = trainer.waiting("functions:count", gate, after=1, more=more)
    aws.action = {"action": "terminate"}
    says(process, "AWS announces the end of this machine")
    gate.open_all()
    succeeds(process)
    assert checkpoints(s3) == [CheckpointRef(1, 2)]
    assert record(s3).outcome is Outcome.COMPLETED


def test_on_preemption_false_tells_a_function_of_no_signal(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, on_preemption=False)
    process = trainer.waiting("functions:count", gate, after=1)
    interrupt(process)
    gate.open(2)
    succeeds(process)
    assert (record(s3).outcome, record(s3).iteration) == (Outcome.INTERRUPTED, 2)
    assert checkpoints(s3) == []


def test_max_lost_seconds_is_refused_for_a_function() -> None:
    with pytest.raises(AttemptFailed, match=r"spec\.checkpoint\.maxLostSeconds cannot be used"):
        require_checkpoints(session_response(max_lost_seconds=60), wrap(lambda config: None))


def test_a_function_runs_and_goes_on_on_a_laptop(laptop: Laptop, gate: Gate) -> None:
    config = json.dumps(gate.config | {"every": 2})
    gate.open(1, 2, 3)
    process = laptop.start(
        "functions:count", "--config", config, "--metric", "value", "--stop", "training_iteration=6"
    )
    laptop.wait_until(lambda: gate.has_begun(4) and laptop.saved() == ["1-2"])
    laptop.wait_until(lambda: 3 in laptop.results(1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    gate.open_all()
    code, stdout, stderr = laptop.run("functions:count", "--resume")
    assert code == 0, stderr
    assert "Completed at iteration 6" in stdout
    assert "restored checkpoint 1-2 " in stderr
    assert list(laptop.results(2)) == [3, 4, 5, 6]
    assert laptop.results(2)[3] == laptop.results(1)[3]
