"""The function API: reports are iterations, and a trial can end at each of them."""

import re
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tune_trainer
from tests.unit.trainer.attempts import Attempts
from tests.unit.trainer.build import KEYS
from tests.unit.trainer.directives import CHECKPOINT, STOP, AskedFrom
from tests.unit.trainer.operator_server import OperatorServer
from tests.unit.trainer.process import checkpoints, record, values
from tests.unit.trainer.s3_server import S3Server
from tests.unit.trainer.trainables.functions import count, report_saved, restored
from tune_trainer import Checkpoint, TrialStopped, get_checkpoint, get_context, report
from tune_trainer.function import Exchange, FunctionTrainable, Report, TrainFunction, wrap
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest

COUNT = wrap(count)
Config = dict[str, Any]


def reported(s3: S3Server, attempt: int = 1) -> list[Any]:
    """The values of an attempt's results, of which none was called durable."""
    return [result.metrics["value"] for result in record(s3, attempt).results]


def test_a_function_that_returns_has_completed(
    attempts: Attempts, operator: OperatorServer, s3: S3Server
) -> None:
    assert attempts.run(COUNT, config={"start": 0, "last": 6, "every": 4}) == 0
    end = record(s3)
    assert (end.outcome, end.reason, end.iteration) == (Outcome.COMPLETED, "Completed", 6)
    assert [result.seq for result in end.results] == [1, 2, 3, 4, 5, 6]  # the last one once
    assert reported(s3) == values(6)
    assert checkpoints(s3) == [CheckpointRef(1, 4)]
    assert operator.completed == [end]


def test_a_criterion_ends_a_function_at_its_report(attempts: Attempts, s3: S3Server) -> None:
    assert attempts.run(COUNT, config={"start": 0, "every": 10}) == 0
    end = record(s3)
    assert (end.reason, end.message) == ("StoppedByCriteria", "training_iteration 10 >= 10")
    assert reported(s3) == values(10)
    assert checkpoints(s3) == [CheckpointRef(1, 10)]


def test_a_function_goes_on_from_the_checkpoint_it_reported(
    attempts: Attempts, s3: S3Server
) -> None:
    attempts.run(COUNT, config={"start": 0, "last": 6, "every": 4})
    attempts.run(
        COUNT, config={"start": 0, "every": 10}, attempt=2, plan=(CheckpointRef(1, 4),)
    )  # fmt: skip
    end = record(s3, 2)
    assert reported(s3, 2) == values(10)[4:]
    assert [result.iteration for result in end.results] == [5, 6, 7, 8, 9, 10]
    assert end.results[0].metrics["iterations_since_restore"] == 1
    manifest = Manifest.from_bytes(s3.store.get(KEYS.manifest(CheckpointRef(2, 10))))
    assert [file.path for file in manifest.files] == ["state.json"]


def test_a_checkpoint_of_a_class_is_none_for_a_function(attempts: Attempts, s3: S3Server) -> None:
    from tests.unit.trainer.trainables.counting import Count

    attempts.run(Count, frequency=5)
    plan = (CheckpointRef(1, 5),)
    assert attempts.run(COUNT, config={"start": 0}, attempt=2, plan=plan) == 1
    end = record(s3, 2)
    assert end.reason == "TypeError"
    assert "a function cannot go on from it\nin load_checkpoint() of trial 00003" in end.message


def test_the_operator_s_wish_is_told_until_a_checkpoint_is_reported(
    attempts: Attempts, operator: OperatorServer, s3: S3Server
) -> None:
    operator.directive = AskedFrom(2, CHECKPOINT)  # and never withdrawn

    def train(config: Config) -> None:
        iteration = 0
        while not get_context().should_checkpoint():
            iteration += 1
            report({"value": iteration})
        report({"value": -1})  # without one, the wish stands
        assert get_context().should_checkpoint()
        report_saved({"value": 0})
        assert not get_context().should_checkpoint()

    assert attempts.run(wrap(train), criteria={}) == 0, record(s3).message
    assert checkpoints(s3) == [CheckpointRef(1, record(s3).iteration)]


def test_a_stop_passes_except_exception_and_finally_cleans_up(
    attempts: Attempts, operator: OperatorServer, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    operator.directive = AskedFrom(2, STOP)
    notes: list[str] = []

    def train(config: Config) -> None:
        try:
            while True:
                try:
                    report({"value": 1})
                except Exception:  # noqa: BLE001 - what user code does
                    notes.append("swallowed")
        finally:
            notes.append("cleaned up")

    assert attempts.run(wrap(train), criteria={}) == 0
    assert (record(s3).outcome, record(s3).directive) == (Outcome.STOPPED, "s-1")
    assert notes == ["cleaned up"]
    assert "cleanup() failed" not in caplog.text


def test_a_failing_clean_up_changes_no_end(
    attempts: Attempts, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    def train(config: Config) -> None:
        try:
            report({"value": 1})
        finally:
            raise OSError("no such socket")

    assert attempts.run(wrap(train), criteria={"training_iteration": 1.0}) == 0
    assert record(s3).outcome is Outcome.COMPLETED
    assert "no such socket" in caplog.text


def test_a_generator_is_closed_where_its_trial_ends(attempts: Attempts, s3: S3Server) -> None:
    notes: list[str] = []

    def train(config: Config) -> Iterator[Config]:
        try:
            for value in range(5):
                yield {"value": value}
        finally:
            notes.append("closed")

    assert attempts.run(wrap(train), criteria={"training_iteration": 2.0}) == 0
    assert (reported(s3), notes) == ([0, 1], ["closed"])


def silent(config: Config) -> None:
    """Reports nothing."""


def returns(config: Config) -> Config:
    report({"value": 1})
    return {"value": 2}


def yields(config: Config) -> Iterator[Config]:
    yield {"value": 1}
    yield {}
    yield {"value": 2}


def is_done(config: Config) -> None:
    report({"value": 1, "done": True})
    report({"value": 2})


def reports_in_a_thread(config: Config) -> None:
    threads = [threading.Thread(target=report, args=({"value": 1},)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def looks_back(config: Config) -> None:
    """Reads what it reported from the store, whose upload runs beside it."""
    assert get_checkpoint() is None
    report_saved({"value": 4})
    found = restored()
    assert found is not None
    report({"value": found["value"] * 10})


class Called:
    def __call__(self, config: Config) -> None:
        report({"value": 3})


def with_more(size: int, config: Config) -> None:
    report({"value": size})


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(silent, [], id="reports nothing"),
        pytest.param(returns, [1, 2], id="returns a last result"),
        pytest.param(yields, [1, 2], id="yields its results"),
        pytest.param(is_done, [1], id="says that it is done"),
        pytest.param(reports_in_a_thread, [1, 1, 1], id="reports in threads"),
        pytest.param(looks_back, [4, 40], id="reads its own checkpoint"),
        pytest.param(Called(), [3], id="is an object"),
        pytest.param(partial(with_more, 5), [5], id="is partial"),
    ],
)
def test_what_counts_as_a_function(
    attempts: Attempts, s3: S3Server, function: TrainFunction, expected: list[int]
) -> None:
    assert attempts.run(wrap(function)) == 0, record(s3).message
    assert (record(s3).outcome, record(s3).reason) == (Outcome.COMPLETED, "Completed")
    assert reported(s3) == expected


def test_a_number_is_the_default_metric(attempts: Attempts, s3: S3Server) -> None:
    assert attempts.run(wrap(lambda config: config["start"] + 7), metric="_metric") == 0
    (result,) = record(s3).results
    assert result.metrics["_metric"] == 7


def test_what_a_function_may_ask(attempts: Attempts, s3: S3Server) -> None:
    context = get_context()
    assert (context.get_trial_id(), context.should_checkpoint()) == ("default", False)
    told: list[Any] = []

    def train(config: Config) -> None:
        config["start"] = "changed"  # a copy
        told.extend(
            [
                context.get_experiment_name(), context.get_trial_id(), context.get_trial_name(),
                context.get_attempt(), context.get_config(), context.should_checkpoint(),
            ]
        )  # fmt: skip
        report({"value": 1})

    assert attempts.run(wrap(train), attempt=2) == 0
    assert told == ["digits", "00003", "00003", 2, {"start": 0}, False]
    assert record(s3, 2).results[0].metrics["config"] == {"start": 0}


def fails(config: Config) -> None:
    report({"value": 1})
    raise ValueError("the loss is gone")


def fails_deep(config: Config) -> None:
    def down(level: int) -> None:
        if level == 0:
            raise OSError("deep inside a library")
        down(level - 1)

    down(20)


def absent(config: Config) -> None:
    report({"value": 1}, checkpoint=Checkpoint.from_directory("/no/such/directory"))


def empty(config: Config) -> None:
    with tempfile.TemporaryDirectory() as directory:
        report({"value": 1}, checkpoint=Checkpoint.from_directory(directory))


def dangling(config: Config) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "link").symlink_to("/no/such/file")
        report({"value": 1}, checkpoint=Checkpoint.from_directory(directory))


def everything(config: Config) -> None:
    report({"value": 1}, checkpoint=Checkpoint.from_directory(tempfile.gettempdir()))


def path(config: Config) -> None:
    report({"value": 1}, checkpoint="a/path")  # type: ignore[arg-type]


def text(config: Config) -> None:
    report("value 1")  # type: ignore[arg-type]


def odd(config: Config) -> Any:
    return [1, 2]


def leaves(config: Config) -> None:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("function", "changes", "reason", "message"),
    [
        pytest.param(
            fails, {}, "ValueError", r"the loss is gone\nin fails\(\) of trial 00003, iteration 2",
            id="raises",
        ),
        pytest.param(fails_deep, {}, "OSError", r"in fails_deep\(\) of trial", id="raises deep"),
        pytest.param(leaves, {}, "SystemExit", r"in leaves\(\) of trial", id="leaves"),
        pytest.param(
            count, {"frequency": 5}, "NotCheckpointable",
            r"spec.checkpoint.frequency cannot be used with count\(\)", id="frequency",
        ),
        pytest.param(
            count, {"frequency": 5, "at_end": True}, "NotCheckpointable",
            "spec.checkpoint.frequency and spec.checkpoint.atEnd", id="at the end",
        ),
        pytest.param(
            absent, {}, "FileNotFoundError", r"'/no/such/directory' does not exist\n"
            r"in report\(checkpoint=...\) of trial 00003, iteration 1", id="no directory",
        ),
        pytest.param(empty, {}, "ValueError", "wrote nothing", id="an empty directory"),
        pytest.param(dangling, {}, "Error", r"in report\(checkpoint=...\)", id="a broken link"),
        pytest.param(everything, {}, "ValueError", "one of its own", id="the folder of all"),
        pytest.param(path, {}, "TypeError", "a tune_trainer.Checkpoint.*got str", id="a path"),
        pytest.param(text, {}, "TypeError", r"report\(\) must get a dict, got str", id="text"),
        pytest.param(odd, {}, "TypeError", r"odd\(\) must return or yield a dict", id="a list"),
        pytest.param(fails, {"metric": "loss"}, "MetricMissing", "no metric 'loss'", id="metric"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_recorded(
    attempts: Attempts, operator: OperatorServer, s3: S3Server, caplog: pytest.LogCaptureFixture,
    function: TrainFunction, changes: Config, reason: str, message: str,
) -> None:  # fmt: skip
    assert attempts.run(wrap(function), **changes) == 1
    end = record(s3)
    assert (end.outcome, end.reason) == (Outcome.FAILED, reason)
    assert re.search(message, end.message), end.message
    assert f"trial 00003, attempt 1: {reason}: " in caplog.messages[-1]
    assert operator.completed == [end]
    assert checkpoints(s3) == []
    assert "cleanup() failed" not in caplog.text


def test_a_failure_leaves_the_checkpoint_before_it(attempts: Attempts, s3: S3Server) -> None:
    def train(config: Config) -> None:
        report_saved({"value": 1})
        dangling(config)

    assert attempts.run(wrap(train)) == 1
    assert record(s3).reason == "Error"
    assert checkpoints(s3) == [CheckpointRef(1, 1)]


def test_a_report_is_told_whether_it_has_a_checkpoint_and_when_it_was(
    attempts: Attempts, s3: S3Server
) -> None:
    def train(config: Config) -> None:
        report({"value": 1, "should_checkpoint": True, "timestamp": 7})

    assert attempts.run(wrap(train)) == 0, record(s3).message
    (result,) = record(s3).results
    assert "should_checkpoint" not in result.metrics
    assert result.metrics["timestamp"] > 7
    assert checkpoints(s3) == []


def test_a_big_checkpoint_that_is_changed_after_the_report_is_kept_as_it_was(
    attempts: Attempts, s3: S3Server, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    file = folder / "weights"

    def train(config: Config) -> None:
        file.write_bytes(b"reported" * 100_000)
        report({"value": 1}, checkpoint=Checkpoint.from_directory(folder))
        file.write_bytes(b"changed")

    assert attempts.run(wrap(train)) == 0, record(s3).message
    stored = [data for key, data in s3.store.objects.items() if key.endswith("/weights")]
    assert stored == [b"reported" * 100_000]


def test_outside_of_a_trial_there_is_nobody_to_report_to() -> None:
    with pytest.warns(UserWarning, match=r"report\(\) does nothing outside"):
        report({"value": 1})
    with pytest.warns(UserWarning, match=r"get_checkpoint\(\) does nothing outside"):
        assert get_checkpoint() is None


def test_a_function_can_be_tried_without_a_trial() -> None:
    def train(config: Config) -> None:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "file").write_text("kept")
            report({"value": config["lr"]}, checkpoint=Checkpoint.from_directory(directory))

    trainable = wrap(train)({"lr": 2})
    assert isinstance(trainable, FunctionTrainable)
    assert type(trainable).__name__ == "train"
    result = trainable.train()
    assert (result["value"], result["should_checkpoint"]) == (2, True)
    with tempfile.TemporaryDirectory() as directory:
        trainable.save_checkpoint(directory)
        assert Path(directory, "file").read_text() == "kept"
        with pytest.raises(RuntimeError, match="no checkpoint but those"):
            trainable.save_checkpoint(directory)
    assert trainable.train() == {"__duplicate__": True}
    trainable.cleanup()


def test_stopping_a_function_that_never_began_is_nothing() -> None:
    wrap(count)({}).cleanup()


def test_whoever_reports_after_the_end_is_stopped_again() -> None:
    stops: list[type[BaseException]] = []
    exchange: Exchange

    def body() -> None:
        for _ in range(3):
            try:
                exchange.hand_over(Report({}, None))
            except TrialStopped:
                stops.append(TrialStopped)

    exchange = Exchange(body)
    assert exchange.next() == Report({}, None)
    exchange.stop()
    assert stops == [TrialStopped] * 3


def test_of_many_reports_none_is_lost_or_taken_twice() -> None:
    def train(config: Config) -> None:
        def several(first: int) -> None:
            for value in range(first, first + 500):
                report({"value": value})

        threads = [threading.Thread(target=several, args=(1000 * i,)) for i in range(1, 4)]
        for thread in threads:
            thread.start()
        several(0)
        for thread in threads:
            thread.join()

    trainable = wrap(train)({})
    taken: dict[int, list[int]] = {0: [], 1: [], 2: [], 3: []}
    while "__duplicate__" not in (result := trainable.train()):
        taken[result["value"] // 1000].append(result["value"] % 1000)
    assert taken == {i: list(range(500)) for i in range(4)}
    trainable.cleanup()


def test_the_names_are_the_package_s() -> None:
    assert tune_trainer.report is report
    assert issubclass(TrialStopped, SystemExit)
    assert not issubclass(TrialStopped, Exception)
