"""From the name of a bucket to the bucket: for checkpoints that the user's code names by URI.

In a trial the endpoint and the keys are the trial's. Elsewhere, to look at a checkpoint on a
laptop, they are those of the usual AWS variables of the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tune_trainer.protocol import environment as env
from tune_trainer.store.base import Store

Connect = Callable[[str], Store]


def from_environment(bucket: str) -> Store:
    """Raises ValueError that names the variable that is missing or wrong."""
    from tune_trainer.store.s3 import Credentials, S3Store

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or _need("AWS_ENDPOINT_URL")
    credentials = Credentials(
        _need(env.ACCESS_KEY), _need(env.SECRET_KEY), os.environ.get(env.SESSION_TOKEN) or None
    )
    try:
        return S3Store(endpoint, os.environ.get("AWS_REGION", ""), bucket, credentials)
    except ValueError as error:
        raise ValueError(f"AWS_ENDPOINT_URL {endpoint!r}: {error}") from None


def _need(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ValueError(f"{name} is not set: an s3:// URI needs it outside of a trial")
    return value


_connect: Connect = from_environment


def use(connect: Connect) -> None:
    """Make it how buckets are found in this process."""
    global _connect  # noqa: PLW0603 - a process runs one trial
    _connect = connect


def bucket(name: str) -> Store:
    """The bucket of this name; raises ValueError."""
    return _connect(name)
