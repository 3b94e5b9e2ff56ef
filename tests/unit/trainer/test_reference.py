"""``Checkpoint``: a directory here, or one in the store, behind the same names."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trainer.attempts import Attempts
from tests.unit.trainer.build import KEYS
from tests.unit.trainer.operator_server import ROOT
from tests.unit.trainer.process import record
from tests.unit.trainer.s3_server import BUCKET, S3Server
from tests.unit.trainer.trainables.counting import Count
from tests.unit.trainer.trainables.functions import report_saved
from tune_trainer import Checkpoint
from tune_trainer.errors import AttemptFailed
from tune_trainer.function import wrap
from tune_trainer.protocol.keys import CheckpointRef

URI = f"s3://{BUCKET}/{KEYS.manifest(CheckpointRef(1, 1))}"


def names(directory: str | Path) -> list[str]:
    return sorted(path.name for path in Path(directory).iterdir())


def saves(config: dict[str, Any]) -> None:
    report_saved({"value": 1})


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies without a target go with the test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A directory with a file and a folder."""
    folder = tmp_path / "local"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights").write_text("1 2 3")
    (folder / "sub" / "more").write_text("4")
    return folder


@pytest.mark.parametrize(
    "make", [Checkpoint, Checkpoint.from_directory, lambda path: Checkpoint.from_uri(path.as_uri())]
)
def test_a_local_directory_is_read_where_it_is(local: Path, make: Any) -> None:
    checkpoint = make(local)
    assert checkpoint.path == str(local)
    with checkpoint.as_directory() as found:
        assert found == str(local)
    assert local.is_dir(), "it is the caller's"


def test_a_copy_adds_to_what_is_there(local: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "sub").mkdir(parents=True)
    (target / "weights").write_text("old")
    (target / "sub" / "mine").write_text("kept")
    assert Checkpoint(local).to_directory(target) == str(target)
    assert (target / "weights").read_text() == "1 2 3"
    assert names(target / "sub") == ["mine", "more"]


def test_a_copy_without_a_target_is_new_each_time(local: Path) -> None:
    one, other = Checkpoint(local).to_directory(), Checkpoint(local).to_directory()
    assert one != other
    assert Path(one, "sub", "more").read_text() == Path(other, "sub", "more").read_text() == "4"


def test_a_copy_onto_itself_is_nothing(local: Path) -> None:
    assert Checkpoint(local).to_directory(local) == str(local)
    assert (local / "weights").read_text() == "1 2 3"


def test_a_directory_with_a_blank_has_a_uri(tmp_path: Path) -> None:
    folder = tmp_path / "with blank"
    folder.mkdir()
    assert Checkpoint.from_uri(folder.as_uri()).path == str(folder)


def test_metadata_lies_beside_the_content(local: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(local)
    assert checkpoint.get_metadata() == {}
    checkpoint.set_metadata({"epoch": 3})
    checkpoint.update_metadata({"loss": 0.5})
    copied = Checkpoint(checkpoint.to_directory(tmp_path / "copy"))
    assert copied.get_metadata() == {"epoch": 3, "loss": 0.5}


def test_a_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = Checkpoint(tmp_path / "gone")
    target = tmp_path / "target"
    for read in (lambda: gone.to_directory(target), gone.require, gone.get_metadata):
        with pytest.raises(FileNotFoundError, match="gone' does not exist"):
            read()
    assert not target.exists()


def test_a_checkpoint_is_no_path(local: Path) -> None:
    with pytest.raises(TypeError, match="use as_directory"):
        os.fspath(Checkpoint(local))
    assert str(local) in repr(Checkpoint(local))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("/a/path", "is no URI"),
        ("gs://bucket/key", "expected s3://bucket/... or file:///..."),
        ("file://elsewhere/a", "expected s3://bucket"),
        ("s3://bucket/a/directory", "names no checkpoint: expected the URI of its manifest"),
        ("s3:///t/00003/m/00001-0000000001.json", "names no checkpoint"),
        ("s3://bucket/t/00003/m/1-1.json", "names no checkpoint"),
    ],
)
def test_what_is_no_uri_of_a_checkpoint(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Checkpoint.from_uri(uri)


def test_a_stored_one_is_read_with_the_trial_s_keys_and_leaves_nothing(
    attempts: Attempts, s3: S3Server, tmp_path: Path
) -> None:
    attempts.names_buckets()
    attempts.run(wrap(saves))
    stored = Checkpoint.from_uri(URI)
    assert stored.path == URI
    with stored.as_directory() as found:
        assert names(found) == ["state.json"]
        assert Path(found, "state.json").read_text() == '{"value": 1}'
    assert not Path(found).exists()
    target = tmp_path / "a" / "target"
    assert stored.to_directory(target) == str(target)
    assert names(target) == ["state.json"]
    assert stored.get_metadata() == {}
    with pytest.raises(ValueError, match="does not change any more"):
        stored.set_metadata({})


def test_one_trial_starts_from_another_s(attempts: Attempts, s3: S3Server) -> None:
    attempts.names_buckets()
    attempts.run(Count, frequency=5)

    def train(config: dict[str, Any]) -> dict[str, Any]:
        with Checkpoint(config["from"]).as_directory() as found:
            return {"value": len(names(found))}

    uri = f"s3://{BUCKET}/{KEYS.manifest(CheckpointRef(1, 5))}"
    assert attempts.run(wrap(train), attempt=2, config={"from": uri}) == 0
    assert record(s3, 2).results[0].metrics["value"] == 1


def test_a_stored_one_that_is_damaged_or_gone_is_never_handed_out(
    attempts: Attempts, s3: S3Server, tmp_path: Path
) -> None:
    attempts.names_buckets()
    attempts.run(wrap(saves))
    (key,) = [key for key in s3.store.objects if key.endswith("/state.json")]
    s3.store.objects[key] = b'{"value": 2}'
    target = tmp_path / "target"
    with pytest.raises(AttemptFailed, match="does not have the checksum"):
        Checkpoint.from_uri(URI).to_directory(target)
    assert not target.exists()
    s3.store.objects.clear()
    with pytest.raises(AttemptFailed, match=rf"{URI}: .*its manifest is gone"):
        Checkpoint.from_uri(URI).to_directory(target)


def test_elsewhere_the_environment_has_the_keys(
    attempts: Attempts, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts.run(wrap(saves))
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": "http://", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "s",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match="is not set: an s3:// URI needs it"):
            Checkpoint(URI).to_directory()
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL 'http://': expected"):
        Checkpoint(URI).to_directory()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
    with Checkpoint(URI).as_directory() as found:
        assert names(found) == ["state.json"]


def test_the_key_of_the_status_is_understood() -> None:
    assert f"{ROOT}/t/00003/m/00001-0000000001.json" in Checkpoint(URI).path
