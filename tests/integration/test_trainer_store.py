"""The SDK's store client against a real MinIO: the contract that the in-memory double keeps too."""

from collections.abc import Iterator

import pytest

from tests.clusters import Bucket
from tests.unit.trainer.store_contract import StoreContract, key
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
