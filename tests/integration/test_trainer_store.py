"""The SDK's store client against a real MinIO: the contract that the in-memory double keeps too."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import Bucket
from tests.unit.trainer.build import Ledger, at, files, read_files
from tests.unit.trainer.store_contract import PART, StoreContract, key
from tests.unit.trainer.wire import Cut, Wire
from tune_trainer.checkpoint import layout
from tune_trainer.checkpoint.commit import commit
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.checkpoint.saver import Attempt, Saver
from tune_trainer.protocol.keys import CheckpointRef, RunKeys
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.retry import Retry
from tune_trainer.store.base import Store, Unavailable
from tune_trainer.store.s3 import Credentials, S3Store

__all__ = ["key"]  # the contract's fixture


class TestMinio(StoreContract):
    @pytest.fixture
    def store(self, minio: Bucket) -> Iterator[Store]:
        credentials = Credentials(minio.access_key, minio.secret_key)
        found = S3Store(minio.endpoint, "us-east-1", minio.bucket, credentials)
        yield found
        found.close()


def test_a_wrong_key_is_unavailable(minio: Bucket) -> None:
    store = S3Store(minio.endpoint, "", minio.bucket, Credentials(minio.access_key, "wrong-secret"))
    with pytest.raises(Unavailable, match="403 SignatureDoesNotMatch"):
        store.get("contract/anything")
    store.close()


def test_a_missing_bucket_is_not_a_missing_object(minio: Bucket) -> None:
    credentials = Credentials(minio.access_key, minio.secret_key)
    store = S3Store(minio.endpoint, "", "there-is-no-such-bucket", credentials)
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        store.get("contract/anything")
    store.close()


def test_a_clone_is_restored_from_the_data_of_its_source(minio: Bucket, tmp_path: Path) -> None:
    store = S3Store(
        minio.endpoint, "us-east-1", minio.bucket, Credentials(minio.access_key, minio.secret_key)
    )
    run, retry = RunKeys(f"clones/{uuid.uuid4()}"), Retry(30, first=0.01, longest=0.1)
    content = {f"small/{number}": bytes([number]) for number in range(20)} | {"large": b"x" * PART}
    ledger = Ledger()
    saver = Saver(Attempt("digits", "00003", 1, run.trial("00003")), store, ledger, tmp_path, retry)
    saver.save(files(**content), at(5), {}, forced=True)
    saver.wait()
    source = run.trial("00003").manifest(CheckpointRef(1, 5))
    keys, ref = run.trial("00007"), CheckpointRef(2, 5)
    clone = Manifest.from_bytes(store.get(source)).clone("00007", ref, "cd")
    commit(store, keys.manifest(ref), clone, retry)
    commit(store, keys.manifest(ref), clone, retry)  # as after an answer that got lost
    with fetch(store, keys, (ref,), tmp_path, retry) as restored:
        assert (restored.manifest.ref, restored.manifest.trial) == (ref, "00007")
        assert read_files(restored.directory) == content
    store.close()


@pytest.mark.parametrize("seed", range(4))
def test_connections_that_end_at_any_byte_cost_nothing(
    minio: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(layout, "PART_SIZE", PART)
    chance = random.Random(seed)
    cuts = [Cut(chance.random() < 0.5, int(10 ** chance.uniform(0, 6.7))) for _ in range(12)]
    wire = Wire(minio.endpoint, iter(cuts))
    store = S3Store(
        wire.endpoint, "us-east-1", minio.bucket, Credentials(minio.access_key, minio.secret_key)
    )
    keys = RunKeys(f"cuts/{uuid.uuid4()}").trial("00003")
    retry = Retry(30, first=0.01, longest=0.1)
    content = {f"small/{number}": chance.randbytes(number) for number in range(20)}
    content["large"] = chance.randbytes(2 * PART + 1000)
    ledger = Ledger()
    saver = Saver(Attempt("digits", "00003", 1, keys), store, ledger, tmp_path, retry)
    saver.save(files(**content), at(5), {}, forced=True)
    saver.wait()
    with fetch(store, keys, tuple(ledger.refs), tmp_path, retry) as restored:
        assert restored.manifest.ref == CheckpointRef(1, 5)
        assert read_files(restored.directory) == content
    store.close()
    wire.stop()
    assert wire.done > 0
