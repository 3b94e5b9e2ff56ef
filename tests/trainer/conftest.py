"""The doubles of the SDK's unit tests, here for real processes; a machine in a cloud, a laptop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.laptop import Laptop
from tests.unit.trainer.conftest import attempts, client, gate, operator, s3, trainer
from tests.unit.trainer.metadata_server import AwsServer

__all__ = ["attempts", "client", "gate", "operator", "s3", "trainer"]


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    """The metadata server of a machine in that cloud."""
    server = AwsServer()
    yield server
    server.stop()


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    """Runs trials in a folder of its own, without a cluster."""
    folder = tmp_path / "laptop"
    folder.mkdir()
    found = Laptop(folder)
    yield found
    found.kill_all()
