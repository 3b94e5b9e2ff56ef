"""What the executor makes of an API server that refuses, is busy, or changes under its hands."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tests.unit.kube.api_server import Answer, ApiServer, answer, fail, pod
from tune_operator.api.constants import (
    LABEL_ATTEMPT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
    POD_FINALIZER,
)
from tune_operator.kube import errors
from tune_operator.kube.events import EventRecorder
from tune_operator.kube.executor import MAX_PARALLEL, Executor
from tune_operator.kube.informer import Informer
from tune_operator.kube.outcomes import Created, Done, Failed, NotTried, Throttled
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle import pod_view
from tune_operator.lifecycle.actions import (
    Action,
    CreatePod,
    DeletePod,
    EmitEvent,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.lifecycle.pod_view import PodView

RELEASE = ReleasePod("tune", "a", "uid-a", keep=True)
REMOVE = RemoveExperimentFinalizer("tune", "digits", "uid-d")


@pytest.fixture
def executor(server: ApiServer) -> Executor[PodView]:
    kube = server.client()
    informer: Informer[PodView] = Informer(kube, PODS, (), "", pod_view.project, lambda _: None)
    return Executor(kube, informer, EventRecorder(kube))


def create(number: int) -> CreatePod:
    labels = {LABEL_EXPERIMENT_UID: "e1", LABEL_TRIAL: str(number), LABEL_ATTEMPT: "1"}
    meta = {"namespace": "tune", "name": f"p{number}", "labels": labels}
    return CreatePod(str(number), 1, {"metadata": meta, "spec": {}})


def held(version: int, *finalizers: str, uid: str = "uid-a") -> dict[str, Any]:
    made = pod("a", version, uid=uid)
    made["metadata"]["finalizers"] = [*finalizers]
    return made


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        pytest.param(fail(429, Retry_After="7"), Throttled, id="busy"),
        pytest.param(fail(500), Failed, id="failing"),
        pytest.param(fail(403, "Forbidden", "no"), Failed, id="not allowed"),
    ],
)
async def test_first_refusal_stops_the_creates(
    server: ApiServer, executor: Executor[PodView], refusal: Any, expected: type
) -> None:
    server.then(answer(pod("p0", 1)), answer(pod("p1", 2)), refusal)
    outcomes = await executor.run({}, [create(number) for number in range(8)])
    assert [type(outcome) for outcome in outcomes[:1]] == [Created]
    assert {type(outcome) for outcome in outcomes[1:3]} == {Created, expected}
    assert [type(outcome) for outcome in outcomes[3:]] == [NotTried] * 5
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(
            fail(403, "Forbidden", 'pods "p0" is forbidden: exceeded quota: few'), id="quota"
        ),
        pytest.param(fail(429, Retry_After="7"), id="busy"),
    ],
)
async def test_two_hundred_creates_that_are_refused_make_one_request_per_look(
    server: ApiServer, executor: Executor[PodView], refusal: Any
) -> None:
    for look in (1, 2, 3):
        server.then(refusal)
        outcomes = await executor.run({}, [create(number) for number in range(200)])
        assert len(outcomes) == 200
        assert len(server.seen) == look


async def test_quota_that_fills_up_is_asked_no_more_than_a_batch_beyond(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    room = 40
    refused = fail(403, "Forbidden", 'pods "p" is forbidden: exceeded quota: few')
    server.then(*[answer(pod("p", 1))] * room, *[refused] * 200)
    outcomes = await executor.run({}, [create(number) for number in range(200)])
    assert [type(outcome) for outcome in outcomes].count(Created) == room
    assert len(server.seen) <= room + MAX_PARALLEL


RELEASES = [ReleasePod("tune", f"p{number}", f"uid-p{number}") for number in range(200)]
DELETES = [DeletePod("tune", f"p{number}", f"uid-p{number}") for number in range(200)]


@pytest.mark.parametrize("actions", [RELEASES, DELETES], ids=["releases", "deletes"])
async def test_busy_server_is_left_alone_by_what_was_not_sent_yet(
    server: ApiServer, executor: Executor[PodView], actions: list[Action]
) -> None:
    server.then(*[fail(429, Retry_After="7")] * 200)
    outcomes = await executor.run({}, actions)
    assert len(server.seen) <= MAX_PARALLEL
    assert {type(outcome) for outcome in outcomes} == {Throttled, NotTried}
    assert [outcome.action for outcome in outcomes] == actions


async def test_busy_server_is_left_alone_by_the_kinds_that_follow(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(fail(429, Retry_After="7"))
    event = EmitEvent("Normal", "TrialStarted", "trial 00000 starts")
    about = {"metadata": {"namespace": "tune", "name": "digits", "uid": "uid-d"}}
    actions: list[Action] = [RELEASE, create(0), create(1), DELETES[0], event]
    outcomes = await executor.run(about, actions)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Throttled, NotTried, NotTried, NotTried, Done]
    assert len(server.seen) == 1


async def test_kept_pod_loses_our_finalizer_and_nothing_else(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(answer(held(5, POD_FINALIZER)), answer(held(6)))
    assert await executor.run({}, [RELEASE]) == [Done(RELEASE)]
    assert [seen.method for seen in server.seen] == ["GET", "PATCH"]
    assert {"op": "test", "path": "/metadata/uid", "value": "uid-a"} in server.seen[1].body


async def test_kept_pod_that_was_released_before_is_not_written_again(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(answer(held(6)))
    assert await executor.run({}, [RELEASE]) == [Done(RELEASE)]
    assert [seen.method for seen in server.seen] == ["GET"]


async def test_pod_that_is_not_kept_is_deleted_by_its_uid(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(answer(held(5, POD_FINALIZER)), answer(held(6)), answer({"kind": "Status"}))
    action = ReleasePod("tune", "a", "uid-a")
    assert await executor.run({}, [action]) == [Done(action)]
    assert [seen.method for seen in server.seen] == ["GET", "PATCH", "DELETE"]
    assert server.seen[2].body["preconditions"] == {"uid": "uid-a"}


async def test_deletion_that_comes_second_is_answered_with_a_pod_without_a_version(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    """So the API server says it when somebody else's deletion overtakes ours within its own."""
    gone = {**held(6), "kind": "Pod"}
    del gone["metadata"]["resourceVersion"]
    server.then(answer(held(5, POD_FINALIZER)), answer(held(6)), answer(gone))
    action = ReleasePod("tune", "a", "uid-a")
    assert await executor.run({}, [action]) == [Done(action)]


async def test_throttled_says_for_how_long(server: ApiServer, executor: Executor[PodView]) -> None:
    server.then(fail(429, Retry_After="7"))
    assert await executor.run({}, [create(0)]) == [Throttled(create(0), 7.0)]


async def test_slow_start_and_bound(server: ApiServer, executor: Executor[PodView]) -> None:
    sizes = [1, 2, 4, 8, 16, 16]
    in_flight = 0

    def held_until_batch_is_complete(size: int, batch: asyncio.Barrier) -> Answer:
        async def respond(request: web.Request) -> web.StreamResponse:
            nonlocal in_flight
            in_flight += 1
            assert in_flight <= size
            await batch.wait()
            in_flight -= 1
            return await answer(pod("x", 1))(request)

        return respond

    for size in sizes:
        batch = asyncio.Barrier(size)
        server.then(*[held_until_batch_is_complete(size, batch)] * size)
    outcomes = await executor.run({}, [create(number) for number in range(sum(sizes))])
    assert {type(outcome) for outcome in outcomes} == {Created}
    assert max(sizes) == MAX_PARALLEL


async def test_finalizer_that_moved_is_found_again(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(
        answer(held(5, POD_FINALIZER)),
        fail(422, "Invalid", "the server rejected our request due to an error in our request"),
        answer(held(6, "theirs", POD_FINALIZER)),
        answer(held(7, "theirs")),
    )
    assert await executor.run({}, [RELEASE]) == [Done(RELEASE)]
    first, second = server.seen[1].body, server.seen[3].body
    assert first[-1] == {"op": "remove", "path": "/metadata/finalizers/0"}
    assert second[-1] == {"op": "remove", "path": "/metadata/finalizers/1"}
    assert {"op": "test", "path": "/metadata/finalizers/1", "value": POD_FINALIZER} in second


async def test_pod_that_keeps_changing_is_given_up_for_now(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(*[answer(held(5, POD_FINALIZER)), fail(422, "Invalid", "test failed")] * 2)
    (outcome,) = await executor.run({}, [RELEASE])
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, errors.Invalid)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([fail(404)], id="gone at the read"),
        pytest.param([answer(held(5, POD_FINALIZER)), fail(404)], id="gone at the patch"),
        pytest.param([answer(held(5, POD_FINALIZER, uid="new"))], id="its name is another Pod's"),
    ],
)
async def test_release_of_what_is_gone_is_done(
    server: ApiServer, executor: Executor[PodView], answers: list[Any]
) -> None:
    server.then(*answers)
    assert await executor.run({}, [RELEASE]) == [Done(RELEASE)]
    assert len(server.seen) == len(answers)


async def test_delete_that_meets_a_new_pod_is_looked_at_again(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(answer(held(5)), fail(409, "Conflict", "the UID in the precondition"))
    action = DeletePod("tune", "a", "uid-a")
    (outcome,) = await executor.run({}, [action])
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, errors.Conflict)


async def test_pod_that_is_being_deleted_is_not_deleted_again(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    going = held(5)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    server.then(answer(going))
    action = DeletePod("tune", "a", "uid-a", grace_seconds=0)
    assert await executor.run({}, [action]) == [Done(action)]
    assert [seen.method for seen in server.seen] == ["GET"]


async def test_experiment_stays_while_a_pod_could_not_be_released(
    server: ApiServer, executor: Executor[PodView]
) -> None:
    server.then(fail(403, "Forbidden", "no"))
    release, remove = await executor.run({}, [RELEASE, REMOVE])
    assert isinstance(release, Failed)
    assert remove == NotTried(REMOVE)
    assert len(server.seen) == 1


async def test_kinds_keep_their_order(server: ApiServer, executor: Executor[PodView]) -> None:
    server.then(fail(404), fail(404), answer(pod("p0", 9)), fail(404))
    actions: list[Action] = [DeletePod("tune", "a", "u"), RELEASE, create(0), REMOVE]
    outcomes = await executor.run({}, actions)
    assert [outcome.action for outcome in outcomes] == actions
    assert [seen.method for seen in server.seen] == ["GET", "GET", "POST", "GET"]
