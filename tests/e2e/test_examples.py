"""The examples as their files say: sources from a ConfigMap, no image of their own."""

from typing import Any

import pytest

from dev.demo.install import EXAMPLE
from tests.e2e.stage import Stage

pytestmark = pytest.mark.timeout(180)

EXAMPLES: dict[str, dict[str, Any]] = {"logistic": {}, "regression": {"numSamples": 2}}
"""What is changed of each, to be quicker."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_to_its_end_through_an_eviction(stage: Stage, name: str) -> None:
    folder = EXAMPLE.parent / name
    stage.source(f"{name}-source", folder / f"{name}.py")
    stage.apply(name, folder, **EXAMPLES[name])
    stage.reaches(name, 12)
    stage.evict(stage.pod(name, "00000"))
    stage.condition(name, "Complete", reason="AllTrialsTerminated")
    row = stage.row(name)
    assert (row["attempt"], row["disruptions"], row.get("failures", 0)) == (2, 1, 0)
    committed = stage.committed(name, stage.uid(name))
    saved = max(ref.iteration for ref in committed if ref.attempt == 1)
    assert saved >= row["lastInterruption"]["iteration"], "SIGTERM saved"
    assert min(ref.iteration for ref in committed if ref.attempt == 2) > saved
