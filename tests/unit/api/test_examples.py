"""Every experiment among the examples is one that the models accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tune_operator.api.constants import GROUP, KIND, VERSION
from tune_operator.api.models import TuneExperimentSpec
from tune_operator.tuning.search import build

EXAMPLES = Path(__file__).parents[3] / "examples"
EXPERIMENTS = {
    f"{path.parent.name}/{path.name}": document
    for path in sorted(EXAMPLES.rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document and document.get("kind") == KIND
}


def test_there_are_examples() -> None:
    assert EXPERIMENTS


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS.keys())
def test_an_example_is_accepted(experiment: dict[str, Any]) -> None:
    assert experiment["apiVersion"] == f"{GROUP}/{VERSION}"
    spec = TuneExperimentSpec.model_validate(experiment["spec"])
    searcher = build(
        experiment["spec"]["search"],
        num_samples=spec.num_samples,
        metric=spec.objective.metric,
        mode=spec.objective.mode,
        seed=0,
    )
    assert searcher.total >= spec.num_samples
