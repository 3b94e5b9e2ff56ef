"""A clone: one manifest that makes another trial's checkpoint this trial's, without its data."""

from pathlib import Path

import pytest

from tests.unit.trainer.build import KEYS, Ledger, at, files, quick_retry, read_files
from tests.unit.trainer.operator_server import ROOT, OperatorServer, session_response
from tests.unit.trainer.process import Trainer, record, succeeds, values
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.checkpoint.commit import commit
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.checkpoint.saver import Attempt, Saver
from tune_trainer.errors import AttemptFailed
from tune_trainer.protocol import environment as env
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef, RunKeys
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.store.base import Store
from tune_trainer.store.folder import FolderStore

SOURCE = RunKeys(ROOT).trial("00001")
SAVED = CheckpointRef(1, 5)
CLONE = CheckpointRef(2, 5)
CONTENT = {"large": b"01234567" * 300_000, **{f"small/{n}": bytes([n]) for n in range(20)}}


def save(store: Store, staging: Path) -> None:
    """A checkpoint of the source: a file, and many in a pack."""
    one = Saver(Attempt("digits", "00001", 1, SOURCE), store, Ledger(), staging, quick_retry())
    one.save(files(**CONTENT), at(5), {"value": 5}, forced=True)
    one.wait()


def clone(store: Store, nonce: str = "cd") -> None:
    """Of the source's checkpoint, in trial 00003."""
    made = Manifest.from_bytes(store.get(SOURCE.manifest(SAVED))).clone("00003", CLONE, nonce)
    commit(store, KEYS.manifest(CLONE), made, quick_retry())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> Store:
    """With a checkpoint and its clone."""
    made = FolderStore(folder)
    save(made, tmp_path)
    clone(made)
    return made


def test_comes_back_as_what_the_source_saved(store: Store, folder: Path, tmp_path: Path) -> None:
    (folder / SOURCE.manifest(SAVED)).unlink()  # as retention does
    with fetch(store, KEYS, (CLONE,), tmp_path, quick_retry()) as restored:
        assert (restored.manifest.ref, restored.manifest.trial) == (CLONE, "00003")
        assert read_files(restored.directory) == CONTENT


def test_costs_one_object(store: Store, folder: Path) -> None:
    below = folder / Path(KEYS.root)
    assert [file for file in below.rglob("*") if file.is_file()] == [folder / KEYS.manifest(CLONE)]


def test_is_verified_as_any_checkpoint(store: Store, folder: Path, tmp_path: Path) -> None:
    data = next(file for file in (folder / SOURCE.all_data()).rglob("large"))
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with (
        pytest.raises(AttemptFailed, match="2-5: large at byte 0 does not have the checksum"),
        fetch(store, KEYS, (CLONE,), tmp_path, quick_retry()),
    ):
        pass


def test_a_trainer_goes_on_from_another_trials_checkpoint(
    operator: OperatorServer, s3: S3Server, trainer: Trainer
) -> None:
    operator.session = session_response(
        s3.endpoint, trial="00001", at_end=True, criteria={"training_iteration": 5.0}
    )
    succeeds(trainer.start("counting:Count", more={env.TRIAL: "00001"}))
    clone(s3.store)
    s3.store.objects.pop(SOURCE.manifest(SAVED))
    operator.results.clear()
    operator.session = session_response(s3.endpoint, attempt=2, plan=(CLONE,), frequency=10)
    succeeds(trainer.start("counting:Count", attempt=2))
    end = record(s3, 2)
    assert end.outcome is Outcome.COMPLETED
    assert [result.metrics["value"] for result in end.results] == values(10)[5:]
    assert {result.metrics["trial_id"] for result in end.results} == {"00003"}
    own = Manifest.from_bytes(s3.store.get(KEYS.manifest(CheckpointRef(2, 10))))
    assert own.origin is None, "what it saves then is its own"
