"""MinioStore against a real MinIO: the suite of all stores, real refusals, a server that hangs."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from minio import Minio
from minio.credentials.providers import AssumeRoleProvider

from tests.clusters import Bucket
from tests.unit.store.conformance import Conformance
from tune_operator.experiment import records
from tune_operator.experiment.claim import Displaced, Owner
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.opening import Opening
from tune_operator.lifecycle.trial_state import RunState, TrialState
from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.errors import AccessDenied, BucketMissing, StoreError, Unreachable
from tune_operator.store.factory import open_store
from tune_operator.store.object_store import ObjectStore, Upload
from tune_trainer.protocol.keys import RunKeys, trial_name

LONGEST = 13.0
"""Seconds a caller waits for a store that does not answer: 7 for the request, not 14 for two."""


@asynccontextmanager
async def opened(
    minio: Bucket,
    *,
    bucket: str = "",
    endpoint: str = "",
    keys: StaticCredentials | None = None,
) -> AsyncIterator[ObjectStore]:
    store = open_store(
        f"s3://{bucket or minio.bucket}/conformance",
        endpoint or minio.endpoint,
        None,
        keys or StaticCredentials(minio.access_key, minio.secret_key),
    )
    yield store
    await store.close()


class TestMinio(Conformance):
    @pytest.fixture
    async def store(self, minio: Bucket) -> AsyncIterator[ObjectStore]:
        # A prefix of its own per test: the bucket is shared.
        self.PREFIX = f"conformance/{uuid.uuid4()}/"
        self.minio = minio
        async with opened(minio) as store:
            yield store

    async def begin(self, store: ObjectStore, key: str) -> Upload:
        minio = self.minio
        host = urlsplit(minio.endpoint)
        client = Minio(
            endpoint=host.netloc,
            access_key=minio.access_key,
            secret_key=minio.secret_key,
            secure=host.scheme == "https",
            region="us-east-1",
        )
        begin = client._create_multipart_upload
        return Upload(key, await asyncio.to_thread(begin, minio.bucket, key, {}))


async def expect(store: ObjectStore, error: type[StoreError], says: str) -> None:
    for call in (
        store.get("conformance/k"),
        store.put("conformance/k", b""),
        store.put_if_absent("conformance/k", b""),
        store.list("conformance/"),
        store.page("conformance/"),
        store.delete(["conformance/k"]),
    ):
        with pytest.raises(StoreError) as caught:
            await call
        assert type(caught.value) is error, caught.value.message
        assert says in caught.value.message


async def test_a_bucket_that_does_not_exist(minio: Bucket) -> None:
    async with opened(minio, bucket="there-is-no-such-bucket") as store:
        await expect(store, BucketMissing, "has no bucket 'there-is-no-such-bucket'; create it")


async def test_an_unknown_access_key(minio: Bucket) -> None:
    keys = StaticCredentials("NOSUCHACCESSKEY", "some-secret-key")
    async with opened(minio, keys=keys) as store:
        await expect(store, AccessDenied, "check AWS_ACCESS_KEY_ID in the Secret")


async def test_a_wrong_secret_key(minio: Bucket) -> None:
    keys = StaticCredentials(minio.access_key, "some-wrong-secret-key")
    async with opened(minio, keys=keys) as store:
        await expect(store, AccessDenied, "check AWS_SECRET_ACCESS_KEY in the Secret")


async def test_a_wrong_session_token(minio: Bucket) -> None:
    keys = StaticCredentials(minio.access_key, minio.secret_key, "no.such.token")
    async with opened(minio, keys=keys) as store:
        await expect(store, AccessDenied, "in the Secret")


def temporary_keys(minio: Bucket, prefix: str) -> StaticCredentials:
    """Keys from STS that may read and write below one prefix only."""
    where = f"arn:aws:s3:::{minio.bucket}"
    allowed = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": [f"{where}/{prefix}*"],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [where],
                "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}},
            },
        ],
    }
    granted = AssumeRoleProvider(
        sts_endpoint=minio.endpoint,
        access_key=minio.access_key,
        secret_key=minio.secret_key,
        policy=json.dumps(allowed),
    ).retrieve()
    return StaticCredentials(granted.access_key, granted.secret_key, granted.session_token)


async def test_temporary_keys_work_where_they_may_and_nowhere_else(minio: Bucket) -> None:
    mine = f"mine-{uuid.uuid4()}/"
    keys = await asyncio.to_thread(temporary_keys, minio, mine)
    async with opened(minio, keys=keys) as store:
        assert await store.put_if_absent(f"{mine}k", b"data") is True
        assert await store.put_if_absent(f"{mine}k", b"other") is False
        assert await store.get(f"{mine}k") == b"data"
        assert await store.list(mine) == [f"{mine}k"]
        with pytest.raises(AccessDenied, match=f"refuses access to .*{mine}k .*DeleteObject"):
            await store.delete([f"{mine}k"])
        await expect(
            store, AccessDenied, "allows GetObject, PutObject, DeleteObject and ListBucket"
        )


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_hangs_is_given_up_within_seconds(
    minio: Bucket, silent: str, scheme: str
) -> None:
    loop = asyncio.get_running_loop()
    async with opened(minio, endpoint=f"{scheme}://{silent}") as store:
        started = loop.time()
        with pytest.raises(Unreachable, match="does not answer in time"):
            await store.put_if_absent("k", b"")
        assert loop.time() - started < LONGEST
    # The thread ends by itself, so that the process can.


async def test_a_port_nobody_listens_on_is_known_at_once(minio: Bucket) -> None:
    with socket.socket() as bound:  # and does not listen: nobody else can meanwhile
        bound.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with opened(minio, endpoint=closed) as store:
            await expect(store, Unreachable, "refuses connections")


async def test_tls_spoken_to_a_plain_minio(minio: Bucket) -> None:
    endpoint = minio.endpoint.replace("http://", "https://")
    async with opened(minio, endpoint=endpoint) as store:
        await expect(store, Unreachable, "no TLS connection")


async def journal_of(store: ObjectStore, keys: RunKeys, term: int) -> Journal:
    async def take(_: int) -> None:
        """No status here: the terms in the store do."""

    opening = Opening(keys, Owner("cluster", "ns", "digits", "uid"), lambda: uuid.uuid4().hex)
    return await opening.proceed(store, term, take)


async def test_a_journal_is_opened_written_and_taken_over(minio: Bucket) -> None:
    keys = RunKeys.of("conformance", "ns", "digits", str(uuid.uuid4()))
    async with opened(minio) as store:
        first = await journal_of(store, keys, 0)
        for number in range(10):
            fresh = TrialState(trial_name(number), config={"lr": number / 10})
            after = RunState(trials=(*first.state.trials, fresh))
            assert await first.commit(store, records.changes(first.state, after)) == after
        second = await journal_of(store, keys, first.term)
        assert (second.term, second.state) == (2, first.state)
        with pytest.raises(Displaced):
            await first.commit(store, records.changes(first.state, RunState(released=True)))
        third = await journal_of(store, keys, second.term)
        assert (third.term, third.state) == (3, second.state)
