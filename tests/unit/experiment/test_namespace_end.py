"""A namespace that ends takes its experiments along; whether it does is asked seldom."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.experiment.world import StillClock
from tests.unit.kube import api_server
from tests.unit.kube.api_server import ApiServer, answer, fail, status
from tests.unit.lifecycle.builders import RUNNING, UID, at, pod
from tune_operator.experiment.namespace_end import ask, unexplained
from tune_operator.experiment.run import Run
from tune_operator.lifecycle.conditions import Finding

TERMINATING = answer(status(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}]), 403)
CALM = pod(RUNNING)
GOING = pod(RUNNING, deleted=at(5))
LATER = pod(RUNNING, deleted=at(9), uid="pod-2", attempt=2)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server.running() as running:
        yield running


@pytest.fixture
def run() -> Run:
    return Run(("team-a", "digits"), UID, {}, storage=Finding(ok=True))


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


async def test_nobody_asks_while_no_pod_is_deleted(
    server: ApiServer, run: Run, clock: StillClock
) -> None:
    assert not unexplained(run, [CALM])
    await ask(server.client(), run, [CALM], clock)
    assert run.namespace_ends is None
    assert not server.seen


async def test_the_end_counts_from_the_first_pod_and_is_asked_for_once(
    server: ApiServer, run: Run, clock: StillClock
) -> None:
    server.then(TERMINATING)
    for pods in ([LATER, GOING], [LATER], []):
        await ask(server.client(), run, pods, clock)
        assert run.namespace_ends == at(5)
    (request,) = server.seen
    assert request.query["dryRun"] == "All"


@pytest.mark.parametrize(
    "says",
    [answer({}), fail(403), fail(422), fail(409, "AlreadyExists")],
    ids=["taken", "another policy", "invalid", "somebody has that name"],
)
async def test_a_namespace_that_lives_is_asked_once_for_each_pod(
    server: ApiServer, run: Run, clock: StillClock, says: api_server.Answer
) -> None:
    server.then(says, says)
    for pods in ([GOING], [GOING], [GOING, LATER], [LATER]):
        await ask(server.client(), run, pods, clock)
        assert run.namespace_ends is None
        assert not unexplained(run, pods)
    assert len(server.seen) == 2


async def test_it_is_asked_again_while_the_store_is_away(
    server: ApiServer, run: Run, clock: StillClock
) -> None:
    run.storage = Finding(ok=False)
    server.then(answer({}), TERMINATING)
    await ask(server.client(), run, [GOING], clock)
    assert run.namespace_ends is None
    await ask(server.client(), run, [GOING], clock)
    assert run.namespace_ends == at(5)


@pytest.mark.parametrize(
    ("says", "seconds"),
    [(fail(500), 1.0), (fail(409), 1.0), (fail(429, Retry_After="7"), 7.0)],
    ids=["a webhook that is down", "a webhook of another mind", "busy"],
)
async def test_without_an_answer_it_is_asked_again_after_a_pause(
    server: ApiServer, run: Run, clock: StillClock, says: api_server.Answer, seconds: float
) -> None:
    server.then(says, TERMINATING)
    for _ in range(2):
        await ask(server.client(), run, [GOING], clock)
        assert unexplained(run, [GOING]) == {GOING.uid}
    assert len(server.seen) == 1
    clock.advance(seconds)
    await ask(server.client(), run, [GOING], clock)
    assert run.namespace_ends == at(5)
