"""Whole attempts in this process: the real runner, operator and store but no process of their own.

Faster than a process. What signals and forks do is left to the tests that start one.
"""

from typing import Any

from tests.unit.trainer.operator_server import OperatorServer, session_response
from tests.unit.trainer.s3_server import BUCKET, S3Server
from tune_trainer import Trainable, context
from tune_trainer.attempt import AttemptRunner
from tune_trainer.context import Facts
from tune_trainer.errors import AttemptFailed
from tune_trainer.interruption import Interruption
from tune_trainer.limits import Limits
from tune_trainer.operator_client import OperatorClient
from tune_trainer.store import connection
from tune_trainer.store.base import Store
from tune_trainer.store.s3 import Credentials, S3Store


class Attempts:
    """Runs attempts of trial 00003."""

    def __init__(self, operator: OperatorServer, client: OperatorClient, s3: S3Server) -> None:
        self._operator = operator
        self._client = client
        self._endpoint = s3.endpoint
        self._store = S3Store(s3.endpoint, "us-east-1", BUCKET, Credentials("key", "secret"))

    def names_buckets(self) -> None:
        """From now on a bucket is found by its name."""
        connection.use(self._bucket)

    def run(self, entry: type[Trainable] | AttemptFailed, **changes: Any) -> int:
        """The exit code of one whose session has these changes."""
        session = self._operator.session = session_response(self._endpoint, **changes)
        interruption = Interruption(3600.0, leave=lambda code: None)
        return AttemptRunner(session, self._client, self._store, interruption, Limits()).run(entry)

    def close(self) -> None:
        """Forget the attempts."""
        connection.use(connection.from_environment)
        context.enter(Facts())
        self._store.close()

    def _bucket(self, name: str) -> Store:
        assert name == BUCKET
        return self._store
