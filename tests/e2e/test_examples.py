"""The examples as their files say, with their sources from a ConfigMap."""

from typing import Any

import pytest

from dev.demo.install import EXAMPLE
from dev.demo.target import NAMESPACE
from tests.e2e.stage import Stage

pytestmark = pytest.mark.timeout(180)

EXAMPLES: dict[str, dict[str, Any]] = {"logistic": {}, "regression": {"numSamples": 2}}
"""What is changed of each, to be quicker."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_to_its_end_through_an_eviction(stage: Stage, name: str) -> None:
    folder = EXAMPLE.parent / name
    stage.source(f"{name}-source", folder / f"{name}.py")
    stage.apply(name, folder, **EXAMPLES[name])
    stage.reaches(name, 4)
    stage.evict(stage.pod(name, "00000"))
    stage.condition(name, "Complete", reason="AllTrialsTerminated")
    row = stage.row(name)
    assert (row["attempt"], row["disruptions"], row.get("failures", 0)) == (2, 1, 0)
    committed = stage.committed(name, stage.uid(name))
    saved = max(ref.iteration for ref in committed if ref.attempt == 1)
    assert saved >= row["lastInterruption"]["iteration"], "SIGTERM saved"
    assert min(ref.iteration for ref in committed if ref.attempt == 2) > saved


SAME: dict[str, Any] = {
    "numSamples": 3,
    "maxConcurrentTrials": 3,
    "search": {
        "space": {
            "lr": {"constant": 0.003},
            "dropout": {"constant": 0.25},
            "step_seconds": {"constant": 1},
        }
    },
    "stop": {"criteria": {"training_iteration": 20}},
    "checkpoint": {"frequency": 4, "atEnd": True},
    "failure": {"maxFailures": 3, "backoff": {"initialSeconds": 0}},
}
"""Three trials of one configuration: they differ by what befalls them, and by nothing else."""


@pytest.mark.timeout(300)
def test_a_network_goes_on_bit_for_bit_after_an_eviction_and_after_a_kill(stage: Stage) -> None:
    evicted, killed, calm = trials = ("00000", "00001", "00002")
    folder = EXAMPLE.parent / "convnet"
    stage.source("convnet-source", folder / "convnet.py")
    stage.apply("convnet", folder, **SAME)
    stage.commits("convnet", evicted)
    stage.evict(stage.pod("convnet", evicted))
    stage.commits("convnet", killed)
    stage.sigkill(NAMESPACE, stage.pod("convnet", killed), "trainer")
    stage.condition("convnet", "Complete", reason="AllTrialsTerminated")
    rows = [stage.row("convnet", trial) for trial in trials]
    assert [row["attempt"] for row in rows] == [2, 2, 1]
    assert [row.get("disruptions", 0) for row in rows] == [1, 0, 0]
    assert [row.get("failures", 0) for row in rows] == [0, 1, 0]
    uid = stage.uid("convnet")
    for trial in (evicted, killed):
        first, second = (
            [ref.iteration for ref in stage.committed("convnet", uid, trial) if ref.attempt == k]
            for k in (1, 2)
        )
        assert min(second) > max(first), "it went on from its checkpoint"
    assert measured(stage, evicted, 2) == measured(stage, calm, 1)
    assert measured(stage, killed, 2) == measured(stage, calm, 1)


def measured(stage: Stage, trial: str, attempt: int) -> list[Any]:
    """The last result of a trial of the network, to the last bit."""
    last = stage.exit_record("convnet", stage.uid("convnet"), trial, attempt).last_result
    assert last is not None
    return [last.metrics[key] for key in ("training_iteration", "mean_accuracy", "loss")]
