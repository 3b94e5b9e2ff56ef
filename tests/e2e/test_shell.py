"""A trainer that is a shell script: the contract as its example and the documents tell it."""

import pytest

from dev.demo.install import EXAMPLE
from tests.e2e.stage import Stage

pytestmark = pytest.mark.timeout(180)

FOLDER = EXAMPLE.parent / "shell"


@pytest.fixture(scope="module", autouse=True)
def _source(stage: Stage) -> None:
    stage.source("shell-source", FOLDER / "train.sh")


def test_a_shell_script_trains_to_its_criteria(stage: Stage) -> None:
    fixed = {"lr": {"constant": 0.5}, "step_seconds": {"constant": 0}}
    stage.apply("shell-calm", FOLDER, numSamples=1, search={"space": fixed})
    stage.condition("shell-calm", "Complete", reason="AllTrialsTerminated")
    row = stage.row("shell-calm")
    assert (row["attempt"], row["reason"]) == (1, "StoppedByCriteria")
    # The gradient descent of train.sh reaches the fit one iteration before the last.
    assert row["iteration"] == 39
    assert row["objectiveValue"] == pytest.approx(0.0048, abs=0.0002)


def test_an_evicted_one_says_so_and_starts_anew(stage: Stage) -> None:
    stage.apply("shell-evicted", FOLDER, numSamples=1)
    stage.reaches("shell-evicted", 10)
    stage.evict(stage.pod("shell-evicted", "00000"))
    stage.condition("shell-evicted", "Complete", reason="AllTrialsTerminated")
    row = stage.row("shell-evicted")
    assert (row["attempt"], row["disruptions"], row.get("failures", 0)) == (2, 1, 0)
    assert row["lastInterruption"]["class"] == "preempted"
    record = stage.exit_record("shell-evicted", stage.uid("shell-evicted"), "00000", 1)
    assert (record.outcome, record.signal) == ("Interrupted", "SIGTERM")
    assert stage.committed("shell-evicted", stage.uid("shell-evicted")) == []


def test_a_deletion_lets_it_end(stage: Stage) -> None:
    stage.apply("shell-deleted", FOLDER, numSamples=1)
    stage.reaches("shell-deleted", 3)
    uid = stage.uid("shell-deleted")
    stage.delete("shell-deleted")
    stage.gone("shell-deleted")
    record = stage.exit_record("shell-deleted", uid, "00000", 1)
    assert (record.outcome, record.signal) == ("Interrupted", "SIGTERM")
