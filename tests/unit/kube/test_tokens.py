"""Whose token it is, and how often the API server is asked."""

import asyncio
from typing import Any

import pytest

from tests.unit.kube.api_server import ApiServer, answer, fail
from tests.unit.runtime.fake_clock import FakeClock
from tune_operator.kube import errors, tokens
from tune_operator.kube.tokens import TokenAuthenticator, identity
from tune_operator.reports.identity import PodIdentity

AUDIENCE = "tuneoperator.io/reports"
POD = PodIdentity(namespace="tune", name="digits-1", uid="u1")


def review(**changes: Any) -> dict[str, Any]:
    return {
        "authenticated": True,
        "audiences": [AUDIENCE],
        "user": user(SERVICE_ACCOUNT, ["digits-1"], ["u1"]),
        **changes,
    }


SERVICE_ACCOUNT = "system:serviceaccount:tune:default"


def user(name: str, pod_name: list[str], pod_uid: list[str]) -> dict[str, Any]:
    return {"username": name, "extra": {tokens.POD_NAME: pod_name, tokens.POD_UID: pod_uid}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(review(), POD, id="bound to a Pod"),
        pytest.param({"error": "expired"}, None, id="not authenticated"),
        pytest.param(review(authenticated="yes"), None, id="not plainly true"),
        pytest.param(review(audiences=["https://kubernetes"]), None, id="another audience"),
        pytest.param(review(audiences=None), None, id="no audience"),
        pytest.param(review(user={"username": SERVICE_ACCOUNT}), None, id="bound to no Pod"),
        pytest.param(review(user=None), None, id="no user"),
        pytest.param(review(user=user(SERVICE_ACCOUNT, ["a", "b"], ["u"])), None, id="two names"),
        pytest.param(review(user=user(SERVICE_ACCOUNT, ["a"], [])), None, id="no UID"),
        pytest.param(review(user=user("alice", ["a"], ["u"])), None, id="no service account"),
        pytest.param(
            review(user=user("system:serviceaccount:tune", ["a"], ["u"])),
            None,
            id="half a service account",
        ),
    ],
)
def test_identity(status: dict[str, Any], expected: PodIdentity | None) -> None:
    assert identity(status, AUDIENCE) == expected


@pytest.fixture
def authenticator(server: ApiServer, clock: FakeClock) -> TokenAuthenticator:
    return TokenAuthenticator(server.client(), AUDIENCE, clock)


YES = answer({"status": review()})
NO = answer({"status": {"authenticated": False}})


async def test_answer_is_remembered_for_a_minute(
    server: ApiServer, clock: FakeClock, authenticator: TokenAuthenticator
) -> None:
    server.then(YES, NO)
    assert await authenticator.authenticate("token") == POD
    await clock.advance(59.9)
    assert await authenticator.authenticate("token") == POD
    assert len(server.seen) == 1
    await clock.advance(0.1)
    assert await authenticator.authenticate("token") is None
    assert server.seen[0].body["spec"] == {"token": "token", "audiences": [AUDIENCE]}


async def test_refusal_is_not_remembered(
    server: ApiServer, authenticator: TokenAuthenticator
) -> None:
    server.then(NO, YES)
    assert await authenticator.authenticate("token") is None
    assert await authenticator.authenticate("token") == POD


async def test_many_who_ask_for_one_token_ask_once(
    server: ApiServer, authenticator: TokenAuthenticator
) -> None:
    server.then(YES)
    answers = await asyncio.gather(*[authenticator.authenticate("token") for _ in range(20)])
    assert set(answers) == {POD}
    assert len(server.seen) == 1


async def test_first_who_hangs_up_takes_the_answer_from_nobody(
    server: ApiServer, clock: FakeClock, authenticator: TokenAuthenticator
) -> None:
    released = asyncio.Event()

    async def late(request: Any) -> Any:
        await released.wait()
        return await YES(request)

    server.then(late)
    first = asyncio.ensure_future(authenticator.authenticate("token"))
    second = asyncio.ensure_future(authenticator.authenticate("token"))
    await clock.settle()
    first.cancel()
    await clock.settle()
    released.set()
    assert await second == POD


async def test_silence_says_nothing_about_a_token(
    server: ApiServer, authenticator: TokenAuthenticator
) -> None:
    server.then(fail(429), YES)
    with pytest.raises(errors.TooManyRequests):
        await authenticator.authenticate("token")
    assert await authenticator.authenticate("token") == POD


async def test_memory_is_bounded(
    server: ApiServer, authenticator: TokenAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "CACHE_LIMIT", 2)
    server.then(YES, YES, YES, YES)
    for token in ("a", "b", "c", "c", "b", "a"):
        assert await authenticator.authenticate(token) == POD
    assert len(server.seen) == 4


async def test_when_nobody_could_vouch_for_a_token_is_remembered(
    server: ApiServer, authenticator: TokenAuthenticator, clock: FakeClock
) -> None:
    """Whoever was turned away then did not hang."""
    assert authenticator.failed_at is None
    server.then(*[fail(503)] * 3)
    with pytest.raises(errors.KubeError):
        await authenticator.authenticate("token")
    assert authenticator.failed_at == clock.now()
