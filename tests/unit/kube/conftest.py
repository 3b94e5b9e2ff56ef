from collections.abc import AsyncIterator

import pytest

from tests.unit.kube import api_server
from tests.unit.kube.api_server import ApiServer
from tests.unit.runtime.fake_clock import FakeClock


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server.running() as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
