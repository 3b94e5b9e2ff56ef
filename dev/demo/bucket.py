"""Looks into the bucket from outside the cluster as a user would: through a forwarded port."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from minio import Minio

from dev.demo.errors import StepFailed
from dev.demo.shell import Shell
from tune_trainer.protocol.keys import CheckpointRef, RunKeys, parse_manifest_key


@dataclass(frozen=True)
class Keys:
    """Credentials of the store."""

    access_key: str
    secret_key: str


class Bucket:
    """Reads what experiments left."""

    def __init__(self, client: Minio) -> None:
        self._client = client

    def newest_checkpoint(self, root_uri: str, trial: str) -> CheckpointRef | None:
        """The newest committed checkpoint of a trial, by the manifests below its run's URI."""
        location = urlsplit(root_uri)
        prefix = RunKeys(location.path.strip("/")).trial(trial).manifests()
        found = self._client.list_objects(bucket_name=location.netloc, prefix=prefix)
        refs = (parse_manifest_key(entry.object_name or "") for entry in found)
        return max((ref for ref in refs if ref), default=None)


@contextmanager
def opened(shell: Shell, namespace: str, service: str, keys: Keys) -> Iterator[Bucket]:
    """The store behind a Service of the cluster, for as long as the block runs."""
    forward = ("kubectl", "--namespace", namespace, "port-forward", f"service/{service}", ":9000")
    with shell.background(*forward) as process:
        line = process.stdout.readline() if process.stdout else ""
        port = re.search(r":(\d+) ->", line)
        if port is None:
            raise StepFailed(f"`kubectl port-forward service/{service}` did not start: {line!r}")
        http = urllib3.PoolManager(timeout=10.0, retries=urllib3.Retry(3, backoff_factor=0.3))
        client = Minio(
            endpoint=f"127.0.0.1:{port[1]}",
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            secure=False,
            region="us-east-1",
            http_client=http,
        )
        yield Bucket(client)
