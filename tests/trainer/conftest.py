"""The doubles of the SDK's unit tests, here for real processes and servers."""

from tests.unit.trainer.conftest import attempts, client, gate, operator, s3, trainer

__all__ = ["attempts", "client", "gate", "operator", "s3", "trainer"]
