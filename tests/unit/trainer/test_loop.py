"""What ends the training and what saves it, step by step and without any process or network."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.trainer.build import KEYS, quick_retry
from tests.unit.trainer.memory_store import MemoryStore
from tests.unit.trainer.operator_server import session_response
from tests.unit.trainer.trainables.counting import Count, Forgetful
from tune_trainer import Trainable
from tune_trainer.cadence import Cadence
from tune_trainer.checkpoint.saver import Attempt, Saver
from tune_trainer.context import TrialContext, current
from tune_trainer.ending import End
from tune_trainer.errors import AttemptFailed
from tune_trainer.interruption import Interruption
from tune_trainer.limits import Limits
from tune_trainer.loop import TrainingLoop, require_checkpoints
from tune_trainer.operator_client import OperatorClient
from tune_trainer.pace import Pace
from tune_trainer.progress import Progress
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef, parse_manifest_key
from tune_trainer.protocol.messages import CONTINUE, Directive, DirectiveKind
from tune_trainer.reporter import Reporter
from tune_trainer.spool import Spool
from tune_trainer.store.base import Data

STOP = Directive(DirectiveKind.STOP, "s-1")
CHECKPOINT = Directive(DirectiveKind.CHECKPOINT, "c-1")
OTHER_CHECKPOINT = Directive(DirectiveKind.CHECKPOINT, "c-2")


class Answers(Reporter):
    """What the operator says to each result, by its sequence; nothing is sent."""

    def __init__(self, client: OperatorClient) -> None:
        super().__init__(client, 1, Spool("value", "max", 100, 1 << 20), Limits())
        self.directives: Mapping[int, Directive] = {}
        self.refs: list[CheckpointRef] = []

    def answer(self, step_seconds: float) -> Directive:
        assert self.last is not None
        return self.directives.get(self.last.seq, CONTINUE)

    def committed(self, ref: CheckpointRef) -> None:
        self.refs.append(ref)


class Training:
    """One loop to its end, with a store in memory."""

    def __init__(self, client: OperatorClient, staging: Path) -> None:
        self.store = MemoryStore()
        self.reporter = Answers(client)
        self.interruption = Interruption(3600.0, leave=lambda code: None)
        self._staging = staging

    def run(self, kind: type[Trainable] = Count, **changes: Any) -> End:
        session = session_response(**changes)
        progress = Progress()
        token = current.set(TrialContext(session.trial, progress))
        trainable = kind(dict(session.config))
        current.reset(token)
        attempt = Attempt("digits", "00003", 1, KEYS)
        saver = Saver(attempt, self.store, self.reporter, self._staging, quick_retry())
        pace = Pace(lambda: saver.seconds)
        loop = TrainingLoop(
            session, trainable, progress, saver, self.reporter, self.interruption, pace, Limits()
        )
        return loop.run(None)

    @property
    def iterations(self) -> int:
        assert self.reporter.last is not None
        return self.reporter.last.iteration

    @property
    def saved(self) -> list[int]:
        """Iterations with a committed checkpoint."""
        refs = [parse_manifest_key(key) for key in self.store.objects if "/m/" in key]
        return sorted(ref.iteration for ref in refs if ref is not None)


@pytest.fixture
def training(client: OperatorClient, tmp_path: Path) -> Training:
    staging = tmp_path / "staging"
    staging.mkdir()
    return Training(client, staging)


@pytest.mark.parametrize(
    ("changes", "saved"),
    [
        pytest.param({}, [], id="not at the end"),
        pytest.param({"at_end": True}, [3], id="at the end"),
        pytest.param({"at_end": True, "frequency": 3}, [3], id="at the end of a period"),
        pytest.param({"frequency": 2}, [2], id="between periods"),
    ],
)
def test_a_stop_ends_with_the_iteration_it_answers(
    training: Training, changes: dict[str, Any], saved: list[int]
) -> None:
    training.reporter.directives = {3: STOP}
    end = training.run(**changes)
    assert (end.outcome, end.reason, end.directive) == (
        Outcome.STOPPED, "StoppedByDirective", "s-1",
    )  # fmt: skip
    assert (end.code, training.iterations, training.saved) == (0, 3, saved)
    assert [ref.iteration for ref in training.reporter.refs] == saved  # before the end is told


class Done(Count):
    """Is done in its third iteration."""

    def step(self) -> dict[str, Any]:
        return super().step() | {"done": self.iteration == 2}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param(Done, {}, id="done"),
        pytest.param(Count, {"criteria": {"training_iteration": 3.0}}, id="criterion"),
    ],
)
def test_a_stop_for_a_trial_that_is_over_is_void(
    training: Training, kind: type[Trainable], changes: dict[str, Any]
) -> None:
    training.reporter.directives = {3: STOP}
    end = training.run(kind, **changes)
    assert (end.outcome, end.directive, training.iterations) == (Outcome.COMPLETED, "", 3)


class Signalled(Count):
    """Its third iteration sees a signal."""

    interruption: Interruption

    def step(self) -> dict[str, Any]:
        if self.iteration == 2:
            self.interruption.signal = "SIGTERM"
            self.interruption.requested.set()
        return super().step()


@pytest.mark.parametrize(
    ("directive", "outcome", "signal", "saved"),
    [
        pytest.param(STOP, Outcome.STOPPED, "", [], id="a stop wins"),
        pytest.param(CHECKPOINT, Outcome.INTERRUPTED, "SIGTERM", [3], id="checkpoint, one save"),
        pytest.param(CONTINUE, Outcome.INTERRUPTED, "SIGTERM", [3], id="a signal alone"),
    ],
)
def test_a_directive_and_a_signal_together_end_once(
    training: Training, directive: Directive, outcome: Outcome, signal: str, saved: list[int]
) -> None:
    Signalled.interruption = training.interruption
    training.reporter.directives = {3: directive}
    end = training.run(Signalled)
    assert (end.outcome, end.signal, training.iterations) == (outcome, signal, 3)
    assert training.saved == saved
    assert [ref.iteration for ref in training.reporter.refs] == saved


@pytest.mark.parametrize(
    ("directives", "changes", "saved"),
    [
        pytest.param({4: CHECKPOINT}, {}, [4], id="once"),
        pytest.param({4: CHECKPOINT, 5: CHECKPOINT, 6: CHECKPOINT}, {}, [4], id="repeated"),
        pytest.param({4: CHECKPOINT, 7: CHECKPOINT}, {}, [4], id="repeated after a pause"),
        pytest.param({4: CHECKPOINT, 5: OTHER_CHECKPOINT}, {}, [4, 5], id="another"),
        pytest.param({5: CHECKPOINT, 6: STOP}, {"frequency": 5}, [5], id="at a period"),
        pytest.param({4: CHECKPOINT, 6: STOP}, {}, [4], id="then stopped"),
        pytest.param({4: CHECKPOINT}, {"at_end": True}, [4, 10], id="beside the end's"),
    ],
)
def test_a_checkpoint_is_made_once_for_each_directive(
    training: Training, directives: dict[int, Directive], changes: dict[str, Any], saved: list[int]
) -> None:
    training.reporter.directives = directives
    training.run(**changes)
    assert training.saved == saved
    assert training.iterations == (6 if STOP in directives.values() else 10)


class Asks(Count):
    """Asks for a checkpoint in the iterations that its configuration lists, in its own way."""

    def step(self) -> dict[str, Any]:
        asks = self.iteration + 1 in self.config["asks"]
        return super().step() | {"should_checkpoint": self.config["way"] if asks else 0}


@pytest.mark.parametrize(
    ("way", "changes", "forced", "periodic"),
    [
        pytest.param(True, {}, {2, 5}, set(), id="without a frequency"),
        pytest.param(True, {"frequency": 4}, {2, 5}, {4, 8}, id="beside a frequency"),
        pytest.param(True, {"frequency": 5}, {2, 5}, {10}, id="once where a period ends"),
        pytest.param(True, {"at_end": True}, {2, 5, 10}, set(), id="beside the end's"),
        pytest.param(
            True, {"criteria": {"training_iteration": 5.0}, "at_end": True, "frequency": 5},
            {2, 5}, set(), id="once at the end",
        ),
        pytest.param(1, {}, {2, 5}, set(), id="a number"),
        pytest.param("yes", {}, {2, 5}, set(), id="a text"),
        pytest.param(np.True_, {}, {2, 5}, set(), id="NumPy's truth"),
        pytest.param(np.False_, {}, set(), set(), id="NumPy's falsehood"),
        pytest.param(None, {}, set(), set(), id="null"),
    ],
)  # fmt: skip
def test_a_truthy_should_checkpoint_saves_whatever_the_frequency(
    training: Training, way: Any, changes: dict[str, Any], forced: set[int], periodic: set[int]
) -> None:
    training.run(Asks, config={"start": 0, "asks": [2, 5], "way": way}, **changes)
    saved = set(training.saved)
    assert forced <= saved <= forced | periodic  # those are skipped while an upload runs


@pytest.mark.parametrize(
    ("changes", "saved"),
    [
        pytest.param({}, [], id="not at the end"),
        pytest.param({"at_end": True}, [3], id="at the end"),
        pytest.param({"at_end": True, "frequency": 3}, [3], id="once where a period ends"),
    ],
)
@pytest.mark.parametrize("how", ["done", "criterion", "duplicate"])
def test_at_the_end_whatever_ends_it(
    training: Training, changes: dict[str, Any], saved: list[int], how: str
) -> None:
    criteria = {"training_iteration": 3.0 if how == "criterion" else 10.0}
    kind = {"done": Done, "duplicate": Repeats}.get(how, Count)
    end = training.run(kind, criteria=criteria, **changes)
    assert end.outcome is Outcome.COMPLETED
    assert (training.iterations, training.saved) == (3, saved)


class Repeats(Count):
    """Says after its third iteration that this was the last one."""

    def step(self) -> dict[str, Any]:
        return {"__duplicate__": True} if self.iteration == 3 else super().step()


def test_a_repeated_result_ends_the_trial_and_is_no_result(training: Training) -> None:
    end = training.run(Repeats)
    assert (end.outcome, end.reason) == (Outcome.COMPLETED, "Completed")
    assert [result.seq for result in training.reporter.undurable()] == [1, 2, 3]


class Gated(MemoryStore):
    """A checkpoint's data is stored when the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def put(self, key: str, data: Data, sha256: str = "") -> None:
        assert self.gate.wait(20)
        super().put(key, data, sha256)


def test_a_checkpoint_that_is_asked_for_waits_for_the_upload_that_runs(training: Training) -> None:
    training.store = Gated()
    training.reporter.directives = {3: CHECKPOINT, 5: STOP}
    threading.Timer(0.05, training.store.gate.set).start()
    training.run(frequency=2)
    assert training.saved[:2] == [2, 3]


def test_a_trainable_that_cannot_save_goes_on_and_says_so_once(
    training: Training, caplog: pytest.LogCaptureFixture
) -> None:
    training.reporter.directives = {4: CHECKPOINT, 5: CHECKPOINT}
    with caplog.at_level(logging.WARNING):
        assert training.run(Forgetful).outcome is Outcome.COMPLETED
    assert [record.getMessage() for record in caplog.records] == [
        "no checkpoint for directive c-1: the trainable cannot save"
    ]
    assert training.saved == []


def test_a_trainable_that_cannot_save_is_stopped(training: Training) -> None:
    training.reporter.directives = {4: STOP}
    assert training.run(Forgetful).outcome is Outcome.STOPPED
    assert training.iterations == 4


def test_a_trainable_that_cannot_save_is_told_so_before_it_trains() -> None:
    for asked in ({"frequency": 2}, {"max_lost_seconds": 60}, {"at_end": True}):
        with pytest.raises(AttemptFailed, match="save_checkpoint"):
            require_checkpoints(session_response(**asked), Forgetful)
    require_checkpoints(session_response(), Forgetful)


class Minute(Count):
    """Each iteration takes a minute of this clock."""

    now = 0.0

    def step(self) -> dict[str, Any]:
        Minute.now += 60
        return super().step()


@pytest.mark.parametrize(
    ("changes", "saved"),
    [
        pytest.param({"max_lost_seconds": 0}, [], id="off"),
        pytest.param({"max_lost_seconds": 190}, [3, 6, 9], id="instead of a frequency"),
        pytest.param(
            {"max_lost_seconds": 190, "frequency": 4}, [3, 4, 7, 8], id="beside a frequency"
        ),
        pytest.param({"max_lost_seconds": 190, "at_end": True}, [3, 6, 9, 10], id="and at the end"),
    ],
)
def test_max_lost_seconds_saves_before_too_much_could_be_lost(
    training: Training, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], saved: list[int]
) -> None:
    def in_minutes(bound: float, step: object, save: object) -> Cadence:
        return Cadence(bound, lambda: 60.0, lambda: 1.0, lambda: Minute.now)

    class Waits(Minute):
        """No save finds another one under way."""

        def step(self) -> dict[str, Any]:
            for thread in threading.enumerate():
                if thread.name == "uploader":
                    thread.join(20)
            return super().step()

    monkeypatch.setattr("tune_trainer.loop.Cadence", in_minutes)
    training.run(Waits, **changes)
    assert training.saved == saved


def announcing(*announcers: str) -> Callable[[], str]:
    """Who announces the end at each result, one after the other; then nobody."""
    said = iter(announcers)
    return lambda: next(said, "")


@pytest.mark.parametrize(
    ("announcers", "saved"),
    [
        pytest.param((), [], id="nobody"),
        pytest.param(("", "GCP", "GCP", "GCP"), [2], id="once"),
        pytest.param(("AWS", "", "", "AWS"), [1, 4], id="withdrawn, and again"),
        pytest.param(("",) * 9 + ("AWS",), [], id="at the trial's own end"),
    ],
)
def test_a_checkpoint_is_made_once_for_each_announcement(
    training: Training, announcers: tuple[str, ...], saved: list[int]
) -> None:
    training.interruption.announced = announcing(*announcers)
    training.run()
    assert training.saved == saved
    assert training.iterations == 10


def test_an_announcement_to_a_trainable_that_cannot_save(
    training: Training, caplog: pytest.LogCaptureFixture
) -> None:
    training.interruption.announced = announcing("GCP", "GCP")
    with caplog.at_level(logging.WARNING):
        assert training.run(Forgetful).outcome is Outcome.COMPLETED
    assert [record.getMessage() for record in caplog.records] == [
        "no checkpoint for the notice of GCP: the trainable cannot save"
    ]


@pytest.mark.parametrize(("left", "saved"), [(60.0, [3]), (-0.001, [])], ids=["fits", "does not"])
def test_a_save_that_does_not_fit_into_the_grace_is_not_begun(
    training: Training, left: float, saved: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    Signalled.interruption = training.interruption
    training.interruption._deadline = time.monotonic() + left
    with caplog.at_level(logging.WARNING):
        end = training.run(Signalled)
    assert (end.outcome, training.iterations) == (Outcome.INTERRUPTED, 3)
    assert training.saved == saved
    assert ("iteration 3 is not saved" in caplog.text) is (saved == [])


def test_on_preemption_false_saves_nothing_for_a_signal_but_obeys_directives(
    training: Training,
) -> None:
    Signalled.interruption = training.interruption
    training.reporter.directives = {2: CHECKPOINT}
    assert training.run(Signalled, on_preemption=False).outcome is Outcome.INTERRUPTED
    assert (training.iterations, training.saved) == (3, [2])
