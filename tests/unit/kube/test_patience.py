"""An API server that is away when the process starts to lead is no reason to end."""

import functools

import pytest

from tests.unit.kube.api_server import ApiServer, answer, fail
from tests.unit.kube.test_client import Hurried
from tune_operator.kube.errors import Forbidden
from tune_operator.kube.patience import patiently
from tune_operator.kube.resources import NAMESPACES


async def test_what_passes_is_waited_out_and_told_once(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.then(*[fail(503)] * 7, fail(429), answer({"metadata": {"uid": "u"}}))
    get = functools.partial(server.client().get, NAMESPACES, None, "kube-system")
    assert (await patiently(get, Hurried()))["metadata"]["uid"] == "u"
    assert not server.script
    assert caplog.text.count("waiting: ") == 2


async def test_what_does_not_pass_is_raised(server: ApiServer) -> None:
    server.then(fail(403))
    get = functools.partial(server.client().get, NAMESPACES, None, "kube-system")
    with pytest.raises(Forbidden):
        await patiently(get, Hurried())
