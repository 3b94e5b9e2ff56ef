"""The small examples: an interruption leaves no trace in what they report.

The undisturbed attempt runs in this process, the one that is interrupted and its successor in
trainers of their own.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.trainer.attempts import Attempts
from tests.unit.trainer.build import KEYS
from tests.unit.trainer.operator_server import OperatorServer, session_response
from tests.unit.trainer.process import Trainer, checkpoints, record, succeeds
from tests.unit.trainer.s3_server import S3Server
from tune_trainer import entrypoint
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest

EXAMPLES = Path(__file__).parents[2] / "examples"
LAST = 25


@dataclass(frozen=True)
class Example:
    """``saved`` is the form of its checkpoints; ``good`` judges its last result."""

    name: str
    session: dict[str, Any]
    saved: tuple[str, str, list[str]]
    good: Callable[[dict[str, Any]], bool]

    @property
    def entrypoint(self) -> str:
        """What its manifest names."""
        manifest = yaml.safe_load((EXAMPLES / self.name / "experiment.yaml").read_text())
        found: str = manifest["spec"]["trainer"]["entrypoint"]
        return found


OLDER_NAMES = Example(
    "logistic",
    {
        "config": {"lr": 0.01, "momentum": 0.5},
        "metric": "mean_accuracy",
        "criteria": {"training_iteration": float(LAST)},
        "frequency": 10,
        "at_end": True,
    },
    # The prefix "model" is no file; its _restore gets it all the same.
    ("path", "model", ["model.optimizer.json", "model.weights.json"]),
    lambda result: result["mean_accuracy"] > 0.9,
)
FUNCTION = Example(
    "regression",
    {
        "config": {"lr": 0.05, "degree": 5, "epochs": LAST},
        "metric": "loss",
        "mode": "min",
        "criteria": {},
    },
    ("directory", "", ["weights.json"]),
    lambda result: result["loss"] < 0.02,
)


@pytest.mark.parametrize(
    "example", [OLDER_NAMES, FUNCTION], ids=["the older names", "a function"]
)  # fmt: skip
def test_an_interrupted_trial_ends_like_an_undisturbed_one(
    operator: OperatorServer, s3: S3Server, attempts: Attempts, trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch, example: Example,
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(EXAMPLES / example.name)
    monkeypatch.setattr("tests.unit.trainer.process.TRAINABLES", EXAMPLES / example.name)
    assert attempts.run(entrypoint.load(example.entrypoint), **example.session) == 0
    calm = record(s3)
    assert (calm.outcome, calm.iteration) == (Outcome.COMPLETED, LAST)
    assert example.good(metrics(calm)[-1])

    slow = example.session | {"config": example.session["config"] | {"step_seconds": 0.3}}
    operator.results.clear()
    operator.session = session_response(s3.endpoint, attempt=2, **slow)
    process = trainer.start(example.entrypoint, attempt=2)
    operator.wait_until(lambda: operator.received >= 3)
    process.send_signal(signal.SIGTERM)
    succeeds(process)
    cut = record(s3, 2)
    assert (cut.outcome, cut.signal) == (Outcome.INTERRUPTED, "SIGTERM")
    newest = CheckpointRef(2, cut.iteration)
    assert max(checkpoints(s3)) == newest, "saved where it was interrupted"
    manifest = Manifest.from_bytes(s3.store.get(KEYS.manifest(newest)))
    files = [file.path for file in manifest.files]
    assert (manifest.kind, manifest.relative, files) == example.saved

    operator.session = session_response(s3.endpoint, attempt=3, plan=(newest,), **example.session)
    code, stderr = trainer.run(example.entrypoint, attempt=3)
    assert code == 0, stderr
    rest = record(s3, 3)
    assert (rest.outcome, rest.iteration) == (Outcome.COMPLETED, LAST)
    assert metrics(cut) + metrics(rest) == metrics(calm)


def metrics(end: ExitRecord) -> list[dict[str, Any]]:
    """The user's own numbers of an attempt's results, none of which was called durable."""
    names = ("mean_accuracy", "loss", "largest")
    return [
        {name: result.metrics[name] for name in names if name in result.metrics}
        for result in end.results
    ]
