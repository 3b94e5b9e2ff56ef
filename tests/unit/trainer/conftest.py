"""Doubles of the store and the operator, fresh for each test."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.trainer.attempts import Attempts
from tests.unit.trainer.operator_server import TOKEN, OperatorServer, session_response
from tests.unit.trainer.process import Gate, Trainer
from tests.unit.trainer.s3_server import S3Server
from tune_trainer.operator_client import OperatorClient


@pytest.fixture
def s3() -> Iterator[S3Server]:
    """S3 with one bucket in memory."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def operator(tmp_path: Path, s3: S3Server) -> Iterator[OperatorServer]:
    """An operator whose session points at ``s3``."""
    server = OperatorServer(tmp_path)
    server.session = session_response(s3.endpoint)
    yield server
    server.stop()


@pytest.fixture
def client(operator: OperatorServer, tmp_path: Path) -> Iterator[OperatorClient]:
    """A client of that operator."""
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    found = OperatorClient(operator.url, operator.ca, token)
    yield found
    found.close()


@pytest.fixture
def attempts(
    operator: OperatorServer, client: OperatorClient, s3: S3Server, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Attempts]:  # fmt: skip
    """Runs attempts in this process, against that operator and that store."""
    staging = tmp_path / "staging"
    staging.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(staging))
    found = Attempts(operator, client, s3)
    yield found
    found.close()


@pytest.fixture
def trainer(operator: OperatorServer, tmp_path: Path) -> Iterator[Trainer]:
    """Starts ``python -m tune_trainer`` as a Pod would."""
    found = Trainer(operator, tmp_path)
    yield found
    found.kill_all()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Lets the iterations of a trainer in another process end one by one."""
    folder = tmp_path / "gate"
    folder.mkdir()
    return Gate(folder)
