"""The whole trainer as a process, against an operator over HTTPS and a store over HTTP."""

import re
import signal
from typing import Any

import pytest

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
    values,
)
from tests.unit.trainer.s3_server import S3Server
from tests.unit.trainer.s3_server import error as s3_error
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.protocol.messages import COMPLETE_PATH, RESULTS_PATH, SESSION_PATH


def test_trains_to_the_criterion_and_completes(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, frequency=4, at_end=True)
    code, stderr = trainer.run("counting:Count")
    assert code == 0, stderr
    end = record(s3)
    assert (end.outcome, end.reason) == (Outcome.COMPLETED, "StoppedByCriteria")
    assert (end.iteration, end.message) == (10, "training_iteration 10 >= 10")
    assert end.last_result is not None
    assert end.last_result.metrics["value"] == values(10)[-1]
    assert operator.completed == [end]
    assert max(operator.checkpoints) == checkpoints(s3)[-1] == CheckpointRef(1, 10)
    reported = [result.metrics["value"] for result in end.results]
    assert reported == values(10)  # nothing was durable
    assert operator.results[operator.received].metrics["trial_id"] == "00003"


def test_no_checkpoint_is_made_that_nobody_asked_for(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint)
    assert trainer.run("counting:Count")[0] == 0
    assert [key for key in s3.store.objects if "/x/" not in key] == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_saves_and_exits_cleanly(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate, name: str
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    process = trainer.waiting("counting:Count", gate, after=2)
    interrupt(process, name)
    gate.open(3)
    succeeds(process)
    end = record(s3)
    assert (end.outcome, end.signal, end.iteration) == (Outcome.INTERRUPTED, name, 3)
    assert checkpoints(s3) == [CheckpointRef(1, 3)]
    assert operator.completed == [end]
    assert CheckpointRef(1, 3) in operator.checkpoints
    assert not gate.has_begun(4)


def test_an_iteration_that_outlasts_the_grace_is_given_up(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, frequency=1)
    process = trainer.waiting("counting:Count", gate, after=1, grace=1.0)
    operator.wait_until(lambda: CheckpointRef(1, 1) in operator.checkpoints)
    process.send_signal(signal.SIGTERM)
    succeeds(process)
    end = record(s3)
    assert (end.outcome, end.signal, end.iteration) == (Outcome.INTERRUPTED, "SIGTERM", 1)
    assert checkpoints(s3) == [CheckpointRef(1, 1)]


def test_a_signal_right_after_a_restore_keeps_the_iteration(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, frequency=5)
    assert trainer.run("counting:Count")[0] == 0
    operator.session = session_response(
        s3.endpoint, attempt=2, plan=(CheckpointRef(1, 5),), config=gate.config
    )
    process = trainer.start("counting:Count", attempt=2, grace=1.0)
    operator.wait_until(lambda: gate.has_begun(6))
    process.send_signal(signal.SIGTERM)
    succeeds(process)
    end = record(s3, 2)
    assert (end.outcome, end.iteration, end.last_result) == (Outcome.INTERRUPTED, 5, None)
    assert {ref.attempt for ref in checkpoints(s3)} == {1}


def test_an_endpoint_that_is_none_is_named(operator: OperatorServer, trainer: Trainer) -> None:
    operator.session = session_response("http://")
    code, stderr = trainer.run("counting:Count")
    assert code == 75
    assert "spec.storage.endpoint 'http://'" in stderr


def test_a_second_sigint_ends_at_once(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config)
    process = trainer.waiting("counting:Count", gate, after=1)
    interrupt(process, "SIGINT")
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert not has_record(s3)


def test_killed_and_resumed_equals_undisturbed(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, frequency=2)
    process = trainer.start("counting:Count")
    gate.open(1, 2)
    operator.wait_until(lambda: CheckpointRef(1, 2) in operator.checkpoints)
    gate.open(3, 4)
    operator.wait_until(lambda: CheckpointRef(1, 4) in operator.checkpoints)
    gate.open(5)
    operator.wait_until(lambda: gate.has_begun(6))
    process.send_signal(signal.SIGKILL)
    assert ended(process)[0] == -signal.SIGKILL
    assert not has_record(s3)

    gate.open_all()
    plan = tuple(reversed(checkpoints(s3)))
    assert plan[0] == CheckpointRef(1, 4)
    operator.results.clear()
    operator.session = session_response(
        s3.endpoint, config=gate.config, frequency=2, attempt=2, plan=plan
    )
    code, stderr = trainer.run("counting:Count", attempt=2)
    assert code == 0, stderr
    end = record(s3, 2)
    assert end.outcome is Outcome.COMPLETED
    assert [result.metrics["value"] for result in end.results] == values(10)[4:]
    first = end.results[0].metrics
    assert (first["training_iteration"], first["iterations_since_restore"]) == (5, 1)
    assert first["time_total_s"] > first["time_since_restore"]
    # Not at the iteration it restored from; later ones may find an upload running and be skipped.
    assert checkpoints(s3)[:3] == [CheckpointRef(1, 2), CheckpointRef(1, 4), CheckpointRef(2, 6)]


def test_a_checkpoint_of_a_finished_trial_trains_no_further(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, at_end=True)
    assert trainer.run("counting:Count")[0] == 0
    operator.results.clear()
    operator.session = session_response(
        s3.endpoint, at_end=True, attempt=2, plan=(CheckpointRef(1, 10),)
    )
    code, stderr = trainer.run("counting:Count", attempt=2)
    assert code == 0, stderr
    end = record(s3, 2)
    assert (end.outcome, end.iteration) == (Outcome.COMPLETED, 10)
    assert end.last_result is not None
    assert end.last_result.metrics["value"] == values(10)[-1]
    assert checkpoints(s3) == [CheckpointRef(1, 10)]
    assert operator.results == {}


@pytest.mark.parametrize(
    ("entrypoint", "changes", "reason", "message"),
    [
        pytest.param("counting:Raises", {}, "ValueError", "the loss is gone", id="raises"),
        pytest.param("counting:Nothing", {}, "EntrypointError", "no attribute", id="no class"),
        pytest.param("counting:number", {}, "EntrypointError", "is a int", id="no function"),
        pytest.param("nowhere:X", {}, "EntrypointError", "No module named", id="no module"),
        pytest.param(
            "counting:Silent", {}, "MetricMissing",
            "no metric 'value'.*accuracy, .*losses/train", id="no metric",
        ),
        pytest.param(
            "counting:Count", {"criteria": {"reward": 1.0}}, "CriterionMissing",
            "no number 'reward'", id="no criterion",
        ),
        pytest.param(
            "counting:Forgetful", {"frequency": 5}, "NotCheckpointable", "save_checkpoint",
            id="cannot save",
        ),
        pytest.param(
            "counting:Count", {"plan": (CheckpointRef(1, 5),), "attempt": 2}, "NoValidCheckpoint",
            "1-5: its manifest is gone", id="no valid checkpoint",
        ),
    ],
)  # fmt: skip
def test_failures_are_recorded_and_told(
    operator: OperatorServer, s3: S3Server, trainer: Trainer,
    entrypoint: str, changes: dict[str, Any], reason: str, message: str,
) -> None:  # fmt: skip
    operator.session = session_response(s3.endpoint, **changes)
    attempt = operator.session.attempt
    code, stderr = trainer.run(entrypoint, attempt=attempt)
    assert code == 1
    end = record(s3, attempt)
    assert (end.outcome, end.reason) == (Outcome.FAILED, reason)
    assert re.search(message, end.message)
    assert f"{reason}: " in stderr.rpartition("tune_trainer: ")[2]
    assert operator.completed == [end]


def test_a_checkpoint_on_its_way_outlives_a_failure(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, frequency=2)
    s3.fail("PUT", "/d/", s3_error(503, "SlowDown"), times=2)
    assert trainer.run("counting:Raises")[0] == 1
    assert checkpoints(s3) == [CheckpointRef(1, 2)]
    assert record(s3).iteration == 2


def test_a_replaced_attempt_leaves_without_a_trace(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, gate: Gate
) -> None:
    operator.session = session_response(s3.endpoint, config=gate.config, frequency=1)
    process = trainer.waiting("counting:Count", gate, after=1)
    operator.wait_until(lambda: operator.checkpoints == [CheckpointRef(1, 1)])
    operator.script = lambda request: error(401, "Outdated")
    gate.open_all()
    code, stderr = ended(process)
    assert code == 75
    assert "Fenced: " in stderr
    assert not has_record(s3)
    assert operator.completed == []


def test_an_outdated_pod_gets_no_session(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.script = lambda request: error(401, "Outdated")
    code, stderr = trainer.run("counting:Count")
    assert code == 75, stderr
    assert s3.store.objects == {}


def test_a_signal_before_the_session_leaves_at_once(
    operator: OperatorServer, trainer: Trainer
) -> None:
    operator.script = lambda request: error(409, "NotBound")
    process = trainer.start("counting:Count")
    operator.wait_until(lambda: len(operator.requests) > 0)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 75


def test_the_operator_may_be_away_all_the_time(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, at_end=True)

    def script(request: Any) -> Any:
        if request.path == SESSION_PATH:
            return None
        if request.path == RESULTS_PATH:
            return error(503, "NotReady")
        return error(401, "Outdated") if request.path == COMPLETE_PATH else None

    operator.script = script
    code, stderr = trainer.run("counting:Count")
    assert code == 0, stderr
    end = record(s3)
    assert [result.metrics["value"] for result in end.results] == values(10)
    manifest = Manifest.from_bytes(s3.store.get(KEYS.manifest(CheckpointRef(1, 10))))
    assert [result.seq for result in manifest.results] == list(range(1, 11))


def test_a_committed_manifest_of_another_process_fences(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, frequency=1)
    s3.store.put(KEYS.manifest(CheckpointRef(1, 1)), b"{}")
    code, stderr = trainer.run("counting:Count")
    assert code == 75
    assert "Fenced" in stderr
    assert not has_record(s3)


def test_worker_processes_can_be_stopped_without_stopping_the_trial(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, criteria={"training_iteration": 3.0})
    code, stderr = trainer.run("counting:Forks")
    assert code == 0, stderr
    assert record(s3).outcome is Outcome.COMPLETED


def test_a_cleanup_that_never_ends_keeps_neither_the_end_nor_the_process(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(s3.endpoint, criteria={"training_iteration": 2.0})
    stderr = succeeds(trainer.start("counting:NeverClean", program=("-c", HASTY)))
    assert "cleanup() still runs" in stderr
    assert operator.completed == [record(s3)]


def test_no_entry_point_is_a_failure_that_says_where_to_name_one(trainer: Trainer) -> None:
    code, stderr = trainer.run("")
    assert code == 1
    assert "args" in stderr
    assert "TUNE_ENTRYPOINT" in stderr


@pytest.mark.parametrize("name", ["TUNE_SESSION_URL", "AWS_SECRET_ACCESS_KEY"])
def test_a_missing_variable_is_named(trainer: Trainer, name: str) -> None:
    code, stderr = trainer.run_without(name)
    assert code == 75
    assert f"{name} is not set" in stderr
