"""The small examples in the real trainer: an interruption leaves no trace in what they report."""

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.trainer.build import KEYS
from tests.unit.trainer.operator_server import OperatorServer, session_response
from tests.unit.trainer.process import Trainer, checkpoints, ended, record
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest

EXAMPLES = Path(__file__).parents[3] / "examples"
LOGISTIC = {"lr": 0.01, "momentum": 0.5}
REGRESSION = {"lr": 0.05, "degree": 5, "epochs": 25}
LAST = 25


def entrypoint(example: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What its manifest names; found on the path of the trainers that start from now on."""
    monkeypatch.setattr("tests.unit.trainer.process.TRAINABLES", EXAMPLES / example)
    manifest = yaml.safe_load((EXAMPLES / example / "experiment.yaml").read_text())
    found: str = manifest["spec"]["trainer"]["entrypoint"]
    return found


@pytest.mark.parametrize(
    ("example", "session", "saved", "better"),
    [
        pytest.param(
            "logistic",
            {"config": LOGISTIC, "metric": "mean_accuracy", "frequency": 10, "at_end": True,
             "criteria": {"training_iteration": 25.0}},
            # The prefix "model" is no file; its _restore gets it all the same.
            ("path", "model", ["model.optimizer.json", "model.weights.json"]),
            lambda result: result["mean_accuracy"] > 0.9, id="older names",
        ),
        pytest.param(
            "regression",
            {"config": REGRESSION, "metric": "loss", "mode": "min", "criteria": {}},
            ("directory", "", ["weights.json"]),
            lambda result: result["loss"] < 0.02, id="a function",
        ),
    ],
)  # fmt: skip
def test_an_interrupted_trial_ends_like_an_undisturbed_one(
    operator: OperatorServer, s3: S3Server, trainer: Trainer, monkeypatch: pytest.MonkeyPatch,
    example: str, session: dict[str, Any], saved: tuple[str, str, list[str]], better: Any,
) -> None:  # fmt: skip
    entry = entrypoint(example, monkeypatch)
    operator.session = session_response(s3.endpoint, attempt=1, **session)
    code, stderr = trainer.run(entry)
    assert code == 0, stderr
    calm = record(s3, 1)
    assert (calm.outcome, calm.iteration) == (Outcome.COMPLETED, LAST)
    assert better(metrics(calm)[-1])

    slow = session | {"config": session["config"] | {"step_seconds": 0.1}}
    operator.results.clear()
    operator.session = session_response(s3.endpoint, attempt=2, **slow)
    process = trainer.start(entry, attempt=2)
    operator.wait_until(lambda: operator.received >= 3)
    process.send_signal(signal.SIGTERM)
    code, stderr = ended(process)
    assert code == 0, stderr
    cut = record(s3, 2)
    assert (cut.outcome, cut.signal) == (Outcome.INTERRUPTED, "SIGTERM")
    newest = max(ref for ref in checkpoints(s3) if ref.attempt == 2)
    assert newest == CheckpointRef(2, cut.iteration), "saved where it was interrupted"

    manifest = Manifest.from_bytes(s3.store.get(KEYS.manifest(newest)))
    files = [file.path for file in manifest.files]
    assert (manifest.kind, manifest.relative, files) == saved

    operator.session = session_response(s3.endpoint, attempt=3, plan=(newest,), **session)
    code, stderr = trainer.run(entry, attempt=3)
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
