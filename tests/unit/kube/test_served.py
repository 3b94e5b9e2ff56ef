"""A kind that is not there yet is waited for: discovery learns of a CRD in several steps."""

import pytest

from tests.unit.kube.api_server import ApiServer, answer, fail
from tests.unit.kube.test_client import Hurried
from tune_operator.api.constants import GROUP, PLURAL
from tune_operator.kube.resources import EXPERIMENTS
from tune_operator.kube.served import served

GROUPS = answer({"groups": [{"name": "apps"}, {"name": GROUP}]})


async def test_it_ends_when_group_version_and_kind_are_there(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.then(
        answer({"groups": [{"name": "apps"}]}),
        *(GROUPS, fail(404)),
        *(GROUPS, answer({"resources": []})),
        fail(403),
        *(GROUPS, answer({"resources": [{"name": PLURAL}]})),
    )
    await served(server.client(), EXPERIMENTS, Hurried())
    assert not server.script
    assert {seen.path for seen in server.seen} == {"/apis", f"/apis/{EXPERIMENTS.api_version}"}
    assert caplog.text.count(f"there is no CRD {PLURAL}.{GROUP}") == 1
