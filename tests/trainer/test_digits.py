"""The example: real training that an interruption leaves no trace in."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tune_trainer import Trainable, state

SOURCE = Path(__file__).parents[2] / "examples" / "digits" / "digits.py"


@pytest.fixture(scope="module")
def digits() -> type[Trainable]:
    spec = importlib.util.spec_from_file_location("digits", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[Trainable] = module.Digits
    return found


def metrics(trainable: Trainable) -> tuple[float, float]:
    result = trainable.train()
    return result["mean_accuracy"], result["loss"]


@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_a_resumed_trial_reports_the_same_to_the_last_bit(
    digits: type[Trainable], tmp_path: Path, act: str, restored_at: Any
) -> None:
    config = {"lr": 0.01, "act": act}
    undisturbed = digits(dict(config))
    expected = [metrics(undisturbed) for _ in range(6)]
    first = digits(dict(config))
    assert [metrics(first) for _ in range(3)] == expected[:3]
    saved = state.save(first, tmp_path)
    resumed = restored_at(digits, config, 3)
    state.load(resumed, saved.kind, saved.relative, tmp_path)
    assert [metrics(resumed) for _ in range(3)] == expected[3:]
    assert expected[-1][0] > 0.9


@pytest.fixture
def restored_at() -> Any:
    """Makes a trainable that goes on after some iterations, as the runner does."""
    from tune_trainer.context import TrialContext, current
    from tune_trainer.progress import Progress

    def make(cls: type[Trainable], config: dict[str, Any], iteration: int) -> Trainable:
        token = current.set(TrialContext("00000", Progress(iteration=iteration)))
        try:
            return cls(dict(config))
        finally:
            current.reset(token)

    return make
