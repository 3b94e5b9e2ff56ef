"""The informer against a real API server, with Pods that come, change and go, and a bad network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.integration.link import account_ready, attempt_pod, linked
from tests.polling import eventually
from tune_operator.api.constants import LABEL_ATTEMPT, LABEL_EXPERIMENT_UID, LABEL_TRIAL
from tune_operator.kube.client import Kube
from tune_operator.kube.informer import Informer
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle import pod_view
from tune_operator.lifecycle.pod_view import PodView

LABELS = {LABEL_EXPERIMENT_UID: "e1", LABEL_TRIAL: "00000", LABEL_ATTEMPT: "1"}


class View:
    """An informer of one namespace, what it told, and ways to wait."""

    def __init__(self, kube: Kube, *namespaces: str) -> None:
        self.told: list[PodView] = []
        self.namespaces = namespaces
        self.informer: Informer[PodView] = Informer(
            kube, PODS, namespaces, LABEL_EXPERIMENT_UID, pod_view.project, self.told.append
        )

    def names(self) -> set[str]:
        return {pod.name for pod in self.known()}

    def known(self) -> list[PodView]:
        return [pod for name in self.namespaces for pod in self.informer.of(name, "e1")]

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        async def look() -> bool:
            return reached()

        async def explain() -> str:
            return f"known: {self.known()}"

        await eventually(look, what, 25, explain)


@asynccontextmanager
async def follow(kube: Kube, *namespaces: str) -> AsyncIterator[View]:
    view = View(kube, *namespaces)
    running = asyncio.ensure_future(view.informer.run())
    try:
        async with asyncio.timeout(20):
            await view.informer.synced.wait()
        yield view
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(autouse=True)
async def account(kube: Kube, namespace: str) -> None:
    await account_ready(kube, namespace)


async def make(kube: Kube, namespace: str, name: str, **meta: Any) -> dict[str, Any]:
    return await kube.create(PODS, namespace, attempt_pod(namespace, name, LABELS, **meta))


async def delete(kube: Kube, pod: dict[str, Any]) -> None:
    meta = pod["metadata"]
    await kube.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0)


async def test_life_of_a_pod(kube: Kube, namespace: str) -> None:
    before = await make(kube, namespace, "before")
    await kube.create(PODS, namespace, attempt_pod(namespace, "foreign", {}))
    async with follow(kube, namespace) as view:
        assert view.names() == {"before"}
        made = await make(kube, namespace, "later")

        def running() -> bool:
            pod = view.informer.get(namespace, "later")
            return pod is not None and pod.phase == "Running" and pod.trainer.started

        await view.until(running, "the Pod runs")
        await delete(kube, made)
        await delete(kube, before)
        await view.until(lambda: view.names() == set(), "both are gone")
        assert {pod.name for pod in view.told} == {"before", "later"}
        assert view.informer.get(namespace, "foreign") is None


async def test_all_namespaces(kube: Kube, namespace: str) -> None:
    async with follow(kube) as view:
        await make(kube, namespace, "a")
        await view.until(lambda: view.informer.get(namespace, "a") is not None, "the Pod is seen")


async def test_own_writes_are_known_at_once_and_never_come_back(kube: Kube, namespace: str) -> None:
    async with follow(kube, namespace) as view:
        made = await make(kube, namespace, "a")
        view.informer.observe(made)
        assert view.names() == {"a"}
        await delete(kube, made)
        await view.until(lambda: view.names() == set(), "the Pod is gone")
        view.informer.observe(made)
        assert view.names() == set()


async def test_deletion_during_silence_is_noticed(kube: Kube, namespace: str) -> None:
    gone = await make(kube, namespace, "gone")
    async with (
        linked(watch_seconds=1.0, request_seconds=1.0) as (link, over_link),
        follow(over_link, namespace) as view,
    ):
        link.silence()
        await delete(kube, gone)
        await make(kube, namespace, "new")
        await view.until(lambda: view.informer.age_seconds() > 2.0, "the view gets old")
        assert view.names() == {"gone"}
        link.cut()  # what was held back must not be what tells it
        link.restore()
        await view.until(lambda: view.names() == {"new"}, "the view is right again")
        await view.until(lambda: view.informer.age_seconds() < 1.5, "the view is fresh again")


async def test_silent_connection_is_given_up(
    kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_operator.kube.client.WATCH_SLACK_SECONDS", 0.5)
    async with (
        linked(watch_seconds=1.0, request_seconds=1.0) as (link, over_link),
        follow(over_link, namespace) as view,
    ):
        link.silence()
        before = link.connections
        await view.until(lambda: link.connections > before, "a new connection is tried")
        link.restore()
        await make(kube, namespace, "a")
        await view.until(lambda: view.names() == {"a"}, "the Pod is seen")


async def test_burst_of_writes_loses_nothing(kube: Kube, namespace: str) -> None:
    async with (
        linked(watch_seconds=1.0) as (link, over_link),
        follow(over_link, namespace) as view,
    ):
        made = await asyncio.gather(*[make(kube, namespace, f"p{number}") for number in range(60)])
        link.cut()
        await asyncio.gather(*[delete(kube, pod) for pod in made[::2]])
        rest = {pod["metadata"]["name"] for pod in made[1::2]}
        await view.until(lambda: view.names() == rest, "the view is right")
        live, _ = await kube.list(PODS, namespace, label_selector=LABEL_EXPERIMENT_UID)
        assert {pod["metadata"]["name"] for pod in live} == rest


async def test_terminated_pod_with_a_finalizer_is_kept_until_released(
    kube: Kube, namespace: str
) -> None:
    held = await make(kube, namespace, "held", finalizers=["tuneoperator.io/attempt-tracking"])
    async with follow(kube, namespace) as view:
        await delete(kube, held)

        def terminating() -> bool:
            pod = view.informer.get(namespace, "held")
            return pod is not None and pod.deleted is not None

        await view.until(terminating, "the deletion is seen")
        free = [{"op": "remove", "path": "/metadata/finalizers"}]
        await kube.json_patch(PODS, namespace, "held", free)
        await view.until(lambda: view.names() == set(), "the Pod is gone")
