"""What a trainable may do wrong: the end says what and in which call, and what was saved stays.

Each trainable is sound for four iterations, has a checkpoint of the third, and errs in the fifth.
"""

import json
import math
import os
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainer.attempts import Attempts
from tests.unit.trainer.operator_server import OperatorServer
from tests.unit.trainer.process import checkpoints, record
from tests.unit.trainer.s3_server import S3Server
from tune_trainer import Trainable
from tune_trainer.limits import Limits
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef

SOUND = CheckpointRef(1, 3)


class Sound(Trainable):
    """Saves in its third and sixth iteration, and counts what it has restored."""

    def step(self) -> Any:
        return {"value": self.iteration, "should_checkpoint": self.iteration in {2, 5}}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return {"value": 7}

    def load_checkpoint(self, checkpoint: Any) -> None:
        assert checkpoint == {"value": 7}

    @property
    def errs(self) -> bool:
        return self.iteration >= 4


class NoDict(Sound):
    def step(self) -> Any:
        return 3 if self.errs else super().step()


class Raises(Sound):
    def step(self) -> Any:
        if self.errs:
            raise ValueError("the loss is gone")
        return super().step()


class RaisesInSetup(Sound):
    def setup(self, config: dict[str, Any]) -> None:
        raise KeyError("lr")


class BadTime(Sound):
    def step(self) -> Any:
        return super().step() | ({"time_this_iter_s": math.nan} if self.errs else {})


class SavesNothing(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return None if self.errs else super().save_checkpoint(checkpoint_dir)


class SavesEmptyFolders(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if not self.errs:
            return super().save_checkpoint(checkpoint_dir)
        Path(checkpoint_dir, "a", "b").mkdir(parents=True)
        return checkpoint_dir


class RemovesItsDirectory(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.errs:
            shutil.rmtree(checkpoint_dir)
        return super().save_checkpoint(checkpoint_dir)


class RaisesInSave(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.errs:
            Path(checkpoint_dir, "half").write_bytes(b"written")
            raise OSError(28, "No space left on device")
        return super().save_checkpoint(checkpoint_dir)


class Unpicklable(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        state = super().save_checkpoint(checkpoint_dir)
        return state | {"lock": threading.Lock()} if self.errs else state


class ReturnsElsewhere(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return "/etc/passwd" if self.errs else super().save_checkpoint(checkpoint_dir)


class ReturnsNumber(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return 3 if self.errs else super().save_checkpoint(checkpoint_dir)


class LeavesPipe(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.errs:
            os.mkfifo(Path(checkpoint_dir, "pipe"))
        return super().save_checkpoint(checkpoint_dir)


class LeavesBrokenLink(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.errs:
            Path(checkpoint_dir, "link").symlink_to("/no/such/file")
        return super().save_checkpoint(checkpoint_dir)


class LeavesLoop(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.errs:
            Path(checkpoint_dir, "sub").mkdir()
            Path(checkpoint_dir, "sub", "loop").symlink_to("..")
        return super().save_checkpoint(checkpoint_dir)


class LeavesOddName(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.errs:
            Path(checkpoint_dir, "back\\slash").touch()
        return super().save_checkpoint(checkpoint_dir)


class LeavesBytesName(Sound):
    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        if self.errs:
            Path(os.fsdecode(checkpoint_dir.encode() + b"/\xff")).touch()
        return super().save_checkpoint(checkpoint_dir)


SAVE = r"in save_checkpoint\(\) of trial 00003, iteration 6"
STEP = r"in step\(\) of trial 00003, iteration 5"


@pytest.mark.parametrize(
    ("kind", "reason", "message"),
    [
        (NoDict, "TypeError", rf"step\(\) must return a dict, got int\n{STEP}"),
        (Raises, "ValueError", rf"the loss is gone\n{STEP}"),
        (RaisesInSetup, "KeyError", r"'lr'\nin setup\(\) of trial 00003"),
        (BadTime, "ValueError", rf"time_this_iter_s nan: expected a finite number\n{STEP}"),
        (SavesNothing, "ValueError", rf"wrote nothing into its directory.*\n{SAVE}"),
        (SavesEmptyFolders, "ValueError", "wrote nothing into its directory"),
        (RemovesItsDirectory, "ValueError", rf"removed the directory.*\n{SAVE}"),
        (RaisesInSave, "OSError", rf"No space left on device\n{SAVE}"),
        (
            Unpicklable,
            "TypeError",
            rf"cannot be pickled at key 'lock': TypeError: .*lock.*\n{SAVE}",
        ),
        (ReturnsElsewhere, "ValueError", rf"'/etc/passwd', which is not inside .*\n{SAVE}"),
        (ReturnsNumber, "TypeError", rf"must return None, a dict, or a path.*\n{SAVE}"),
        (LeavesPipe, "ValueError", rf"'pipe', which is no regular file\n{SAVE}"),
        (LeavesBrokenLink, "ValueError", rf"'link', which leads nowhere\n{SAVE}"),
        (LeavesLoop, "ValueError", rf"'loop', which leads to where it is\n{SAVE}"),
        (LeavesOddName, "ValueError", rf"slash': no name that can be stored\n{SAVE}"),
        (LeavesBytesName, "ValueError", rf"no name that can be stored\n{SAVE}"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_trainable_that_errs(
    attempts: Attempts, operator: OperatorServer, s3: S3Server,
    kind: type[Sound], reason: str, message: str,
) -> None:  # fmt: skip
    assert attempts.run(kind, criteria={"training_iteration": 8.0}) == 1
    end = record(s3)
    assert (end.outcome, end.reason) == (Outcome.FAILED, reason)
    assert re.search(message, end.message), end.message
    assert operator.completed == [end]
    if kind is RaisesInSetup:
        return
    assert checkpoints(s3) == [SOUND]
    assert attempts.run(Sound, attempt=2, plan=(SOUND,)) == 0, "it can be gone on from"
    assert record(s3, 2).iteration == 10


class CannotLoad(Sound):
    def load_checkpoint(self, checkpoint: Any) -> None:
        raise RuntimeError("shapes differ")


def test_a_checkpoint_that_the_trainable_cannot_load(attempts: Attempts, s3: S3Server) -> None:
    attempts.run(Sound)
    assert attempts.run(CannotLoad, attempt=2, plan=(SOUND,)) == 1
    message = record(s3, 2).message
    assert message.startswith(
        "RuntimeError: shapes differ\nin load_checkpoint() of trial 00003, iteration 3"
    )


class Opaque:
    """Has no JSON form, and no text either."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


LOOP: dict[str, Any] = {"name": "itself"}
LOOP["loop"] = [LOOP, LOOP]
DEEP: Any = 1
for _ in range(5000):
    DEEP = [DEEP]


class Odd(Sound):
    """Reports what its class is told, once it has saved."""

    odd: dict[str, Any]

    def step(self) -> Any:
        return super().step() | (self.odd if self.errs else {})


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        pytest.param({"a": math.nan, "b": -math.inf}, {"a": math.nan, "b": -math.inf}, id="nan"),
        pytest.param({"a": {1, 2}}, {"a": "{1, 2}"}, id="no JSON"),
        pytest.param({"a": Opaque()}, {"a": "<Opaque>"}, id="no text"),
        pytest.param({"a": 10**400, "b": -(10**5000)}, {"a": math.inf, "b": -math.inf}, id="huge"),
        pytest.param({"a/b.c~d": {"e/f": math.nan}, "": 1}, {"a/b.c~d": {"e/f": math.nan}, "": 1},
                     id="names with slashes, dots and tildes"),
        pytest.param({3: 1, None: 2, (1, 2): 3}, {"3": 1, "None": 2, "(1, 2)": 3}, id="no text"),
        pytest.param({"a": "half a pair \ud800"}, {"a": "half a pair \ud800"}, id="surrogate"),
    ],
)  # fmt: skip
def test_odd_values_are_told_and_saved(
    attempts: Attempts, operator: OperatorServer, s3: S3Server,
    odd: dict[str, Any], told: dict[str, Any],
) -> None:  # fmt: skip
    kind = type("Odd", (Odd,), {"odd": odd})
    assert attempts.run(kind) == 0, record(s3).message
    metrics = record(s3).results[-1].metrics
    assert repr({name: metrics[name] for name in told}) == repr(told)
    assert CheckpointRef(1, 6) in checkpoints(s3)
    assert attempts.run(kind, attempt=2, plan=(CheckpointRef(1, 6),)) == 0, record(s3, 2).message


@pytest.mark.parametrize("odd", [{"a": LOOP}, {"a": DEEP}], ids=["in itself", "deep"])
def test_a_value_without_end_is_told_as_far_as_it_goes(
    attempts: Attempts, s3: S3Server, odd: dict[str, Any]
) -> None:
    kind = type("Odd", (Odd,), {"odd": odd})
    assert attempts.run(kind) == 0, record(s3).message
    assert attempts.run(kind, attempt=2, plan=(CheckpointRef(1, 6),)) == 0, record(s3, 2).message


class Large(Odd):
    """Reports much, and saves with it, in its sixth iteration."""

    @property
    def errs(self) -> bool:
        return self.iteration >= 5


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"text": "x" * 10_000_000}, id="one of 10 MB"),
        pytest.param({f"{i:0100}": i for i in range(100_000)}, id="many small ones"),
        pytest.param({"a": {f"{i:0200}": {"x": i} for i in range(50_000)}}, id="nested ones"),
    ],
)
def test_10_mb_of_metrics_are_cut_for_all_to_see(
    attempts: Attempts, s3: S3Server, caplog: pytest.LogCaptureFixture, odd: dict[str, Any]
) -> None:
    kind = type("Large", (Large,), {"odd": odd})
    assert attempts.run(kind, criteria={"training_iteration": 6.0}) == 0, record(s3).message
    end = record(s3)
    assert [result.metrics["value"] for result in end.results] == [0, 1, 2, 3, 4, 5]
    assert len(json.dumps(end.results[-1].metrics)) <= Limits().result_bytes
    assert checkpoints(s3) == [SOUND, CheckpointRef(1, 6)], "should_checkpoint was not cut away"
    assert "trial 00003: a result of step() has more than" in caplog.text


def test_a_cut_is_told_once(
    attempts: Attempts, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    kind = type("Large", (Large,), {"odd": {"text": "x" * 100_000}})
    assert attempts.run(kind) == 0, record(s3).message
    assert sum("has more than" in text for text in caplog.messages) == 1


def test_an_objective_may_have_slashes_and_dots_and_be_no_number_for_a_while(
    attempts: Attempts, s3: S3Server
) -> None:
    kind = type("Odd", (Odd,), {"odd": {"losses/val.1": {"top~5": math.nan}}, "errs": True})
    changes = {"metric": "losses/val.1/top~5", "criteria": {"training_iteration": 2.0}}
    assert attempts.run(kind, **changes) == 0, record(s3).message
    assert record(s3).iteration == 2
