"""The examples as their files say: sources from a ConfigMap, no image of their own."""

import pytest

from dev.demo.install import EXAMPLE
from tests.e2e.stage import Stage

pytestmark = pytest.mark.timeout(180)

EXAMPLES = ("logistic", "regression")


@pytest.fixture(scope="module", autouse=True)
def _both(stage: Stage) -> None:
    """They run beside each other."""
    for name in EXAMPLES:
        folder = EXAMPLE.parent / name
        stage.source(f"{name}-source", folder / f"{name}.py")
        stage.apply(name, folder)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_to_its_end_through_an_eviction(stage: Stage, name: str) -> None:
    stage.reaches(name, 12)
    stage.evict(stage.pod(name, "00000"))
    stage.condition(name, "Complete", reason="AllTrialsTerminated")
    row = stage.row(name)
    assert (row["attempt"], row["disruptions"], row.get("failures", 0)) == (2, 1, 0)
    committed = stage.committed(name, stage.uid(name))
    saved = max(ref.iteration for ref in committed if ref.attempt == 1)
    assert saved >= row["lastInterruption"]["iteration"], "SIGTERM saved"
    assert min(ref.iteration for ref in committed if ref.attempt == 2) > saved
