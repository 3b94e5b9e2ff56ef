"""Every test of the model runs on a store and on nonces of the model's own."""

from collections.abc import Iterator

import pytest

from tests.model.process import wired


@pytest.fixture(autouse=True)
def model_outside() -> Iterator[None]:
    """See `wired`."""
    with wired():
        yield
