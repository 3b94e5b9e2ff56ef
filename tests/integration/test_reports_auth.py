"""Who may report: real tokens of a real API server, over TLS to the report server."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.polling import eventually
from tests.unit.reports.parts import SESSION, Running, running
from tune_operator.api.constants import TOKEN_AUDIENCE
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import KubeError, NotFound
from tune_operator.kube.resources import PODS, Resource
from tune_operator.kube.tokens import TokenAuthenticator
from tune_operator.reports.identity import PodIdentity
from tune_trainer.protocol.messages import SESSION_PATH

TOKENS = Resource("", "v1", "serviceaccounts/default/token", "TokenRequest")
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")


@pytest.fixture
async def run(kube: Kube) -> AsyncIterator[Running]:
    async with running(authenticator=TokenAuthenticator(kube, TOKEN_AUDIENCE)) as up:
        yield up


@pytest.fixture
async def pod(kube: Kube, namespace: str) -> dict[str, Any]:
    """A Pod of the namespace's default service account."""

    async def account() -> dict[str, Any] | None:
        with contextlib.suppress(NotFound):
            return await kube.get(ACCOUNTS, namespace, "default")
        return None

    async def explain() -> str:
        return "the service account controller has not made it"

    await eventually(account, "the default service account", 20, explain)
    return await kube.create(PODS, namespace, trainer("trainer"))


def trainer(name: str) -> dict[str, Any]:
    container = {"name": "trainer", "image": "dev.local/pause:dev"}
    return {"metadata": {"name": name}, "spec": {"containers": [container]}}


async def token(
    kube: Kube,
    namespace: str,
    *,
    audience: str = TOKEN_AUDIENCE,
    bound_to: Mapping[str, Any] | None = None,
) -> str:
    """A token of the default service account, as TokenRequest makes it."""
    spec: dict[str, Any] = {"audiences": [audience]}
    if bound_to is not None:
        meta = bound_to["metadata"]
        reference = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        spec["boundObjectRef"] = reference
    made = await kube.create(
        TOKENS, namespace, {"apiVersion": "authentication.k8s.io/v1", "spec": spec}
    )
    return str(made["status"]["token"])


async def ask(run: Running, bearer: str) -> tuple[int, str]:
    """Status and error code of a session request with this token."""
    status, body, _ = await run.post(SESSION_PATH, SESSION.to_json(), token=bearer)
    return status, body.get("error", {}).get("code", "")


async def test_a_token_bound_to_a_pod_is_that_pod(
    run: Running, kube: Kube, namespace: str, pod: dict[str, Any]
) -> None:
    bearer = await token(kube, namespace, bound_to=pod)
    assert await ask(run, bearer) == (200, "")
    assert await ask(run, bearer) == (200, "")
    itself = PodIdentity(namespace, "trainer", pod["metadata"]["uid"])
    assert run.sink.seen == [(itself, SESSION), (itself, SESSION)]


async def test_a_token_for_another_audience_is_refused(
    run: Running, kube: Kube, namespace: str, pod: dict[str, Any]
) -> None:
    bearer = await token(kube, namespace, audience="https://kubernetes.default.svc", bound_to=pod)
    assert await ask(run, bearer) == (401, "Unauthenticated")


async def test_a_token_bound_to_no_pod_is_refused(
    run: Running, kube: Kube, namespace: str, pod: dict[str, Any]
) -> None:
    assert await ask(run, await token(kube, namespace)) == (401, "Unauthenticated")


@pytest.mark.parametrize("bearer", ["rubbish", "a.b.c", "x" * 4000])
async def test_what_is_no_token_is_refused(run: Running, bearer: str) -> None:
    assert await ask(run, bearer) == (401, "Unauthenticated")


async def test_a_changed_token_is_refused(
    run: Running, kube: Kube, namespace: str, pod: dict[str, Any]
) -> None:
    header, payload, signature = (await token(kube, namespace, bound_to=pod)).split(".")
    forged = f"{header}.{payload}.{signature[::-1]}"
    assert await ask(run, forged) == (401, "Unauthenticated")


async def test_the_token_of_a_deleted_pod_is_refused(
    run: Running, kube: Kube, namespace: str, pod: dict[str, Any]
) -> None:
    bearer = await token(kube, namespace, bound_to=pod)
    uid = pod["metadata"]["uid"]
    await kube.delete(PODS, namespace, "trainer", uid=uid, grace_seconds=0)

    async def refused() -> bool:
        return await ask(run, bearer) == (401, "Unauthenticated")

    async def explain() -> str:
        return f"seen: {run.sink.seen}"

    assert await eventually(refused, "a refusal", 30, explain)


async def test_a_pod_of_the_same_name_is_another_identity(
    run: Running, kube: Kube, namespace: str, pod: dict[str, Any]
) -> None:
    first = await token(kube, namespace, bound_to=pod)
    assert await ask(run, first) == (200, "")
    await kube.delete(PODS, namespace, "trainer", uid=pod["metadata"]["uid"], grace_seconds=0)

    async def again() -> dict[str, Any] | None:
        with contextlib.suppress(KubeError):
            return await kube.create(PODS, namespace, trainer("trainer"))
        return None

    async def explain() -> str:
        return "the old Pod is still there"

    second = await eventually(again, "a new Pod of the name", 30, explain)
    assert await ask(run, await token(kube, namespace, bound_to=second)) == (200, "")
    uids = [identity.uid for identity, _ in run.sink.seen]
    assert uids == [pod["metadata"]["uid"], second["metadata"]["uid"]]
