"""The public surface, and what importing it costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import tune_trainer

PROJECT = Path(__file__).parents[3] / "trainer-image" / "pyproject.toml"


def test_the_public_names() -> None:
    assert tune_trainer.__all__ == [
        "SHOULD_CHECKPOINT",
        "Checkpoint",
        "Trainable",
        "TrialStopped",
        "TuneContext",
        "detect_instance_preemption",
        "get_checkpoint",
        "get_context",
        "report",
    ]
    assert set(tune_trainer.__all__) <= set(dir(tune_trainer))
    assert all(getattr(tune_trainer, name) is not None for name in tune_trainer.__all__)
    assert tune_trainer.SHOULD_CHECKPOINT == tune_trainer.result.SHOULD_CHECKPOINT
    assert tune_trainer.SHOULD_CHECKPOINT == "should_checkpoint"
    assert tune_trainer.Trainable.__module__ == "tune_trainer.trainable"
    assert tune_trainer.detect_instance_preemption.__module__ == "tune_trainer.preemption"
    assert not hasattr(tune_trainer, "no_such_name")


def test_the_version_is_the_package_s() -> None:
    assert tomllib.loads(PROJECT.read_text())["project"]["version"] == tune_trainer.__version__


def imported_by(statement: str) -> set[str]:
    """Top-level packages a fresh interpreter has after a statement."""
    code = (
        f"{statement}\nimport sys\nprint(*sorted(name.partition('.')[0] for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_names_of_fields_are_found_as_in_ray() -> None:
    statement = "import tune_trainer as tune\nassert tune.result.SHOULD_CHECKPOINT"
    assert not imported_by(statement) & {"minio", "urllib3", "certifi", "ssl"}


def test_the_protocol_needs_the_standard_library_alone() -> None:
    statement = (
        "import tune_trainer.protocol.messages, tune_trainer.protocol.manifest, "
        "tune_trainer.protocol.exit_record, tune_trainer.protocol.environment"
    )
    assert not imported_by(statement) & {"minio", "urllib3", "certifi", "ssl"}


def test_a_trainable_needs_no_store_client() -> None:
    statement = "from tune_trainer import *"
    assert not imported_by(statement) & {"minio", "urllib3", "certifi", "ssl"}
