"""The executor against a real API server: it does what was decided, and reports what it found."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from tests.integration.link import account_ready, attempt_pod
from tests.integration.test_kube_client import EXPERIMENT, QUOTAS
from tests.polling import eventually
from tune_operator.api.constants import (
    EXPERIMENT_FINALIZER,
    LABEL_ATTEMPT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
    POD_FINALIZER,
)
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.events import EventRecorder
from tune_operator.kube.executor import Executor
from tune_operator.kube.informer import Informer
from tune_operator.kube.outcomes import (
    AlreadyForeign,
    AlreadyOurs,
    Created,
    Done,
    NotTried,
    Outcome,
    QuotaExceeded,
)
from tune_operator.kube.resources import EVENTS, EXPERIMENTS, PODS
from tune_operator.lifecycle import pod_view
from tune_operator.lifecycle.actions import (
    Action,
    AddExperimentFinalizer,
    CreatePod,
    DeletePod,
    EmitEvent,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.lifecycle.pod_view import PodView

OTHER_UID = "00000000-0000-0000-0000-000000000000"
THEIRS = "example.com/theirs"


class Bench:
    """An executor in a namespace, with the informer that its own writes are told to."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        self.recorder = EventRecorder(kube)
        self.informer: Informer[PodView] = Informer(
            kube, PODS, [namespace], LABEL_EXPERIMENT_UID, pod_view.project, lambda _: None
        )
        self.executor = Executor(kube, self.informer, self.recorder)

    async def run(self, *actions: Action, experiment: Any = None) -> list[Outcome]:
        return await self.executor.run(experiment or {}, actions)

    def create(self, number: int, **meta: Any) -> CreatePod:
        trial = f"{number:05d}"
        labels = {LABEL_EXPERIMENT_UID: "e1", LABEL_TRIAL: trial, LABEL_ATTEMPT: "1"}
        name = f"digits-{trial}-1"
        body = attempt_pod(self.namespace, name, labels, finalizers=[POD_FINALIZER], **meta)
        return CreatePod(trial, 1, body)

    async def made(self, number: int, **meta: Any) -> dict[str, Any]:
        (outcome,) = await self.run(self.create(number, **meta))
        assert isinstance(outcome, Created)
        return dict(outcome.pod)

    async def live(self, pod: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return await self.kube.get(PODS, self.namespace, pod["metadata"]["name"])
        except NotFound:
            return None

    async def gone(self, pod: dict[str, Any]) -> None:
        async def look() -> bool:
            return await self.live(pod) is None

        async def explain() -> str:
            return str(await self.live(pod))

        await eventually(look, "the Pod is gone", 20, explain)


@pytest.fixture
async def bench(kube: Kube, namespace: str) -> AsyncIterator[Bench]:
    await account_ready(kube, namespace)
    bench = Bench(kube, namespace)
    running = asyncio.ensure_future(bench.recorder.run())
    yield bench
    running.cancel()
    items, _ = await kube.list(PODS, namespace, label_selector=LABEL_EXPERIMENT_UID)
    for pod in items:
        free = [{"op": "add", "path": "/metadata/finalizers", "value": []}]
        await kube.json_patch(PODS, namespace, pod["metadata"]["name"], free)


def where(pod: dict[str, Any]) -> tuple[str, str, str]:
    meta = pod["metadata"]
    return meta["namespace"], meta["name"], meta["uid"]


async def test_pods_are_created_and_known_at_once(bench: Bench) -> None:
    outcomes = await bench.run(*[bench.create(number) for number in range(20)])
    assert {type(outcome) for outcome in outcomes} == {Created}
    assert [outcome.action for outcome in outcomes] == [bench.create(n) for n in range(20)]
    assert len(bench.informer.of(bench.namespace, "e1")) == 20
    assert all(pod.tracked for pod in bench.informer.of(bench.namespace, "e1"))


async def test_pod_of_this_attempt_is_ours_though_we_did_not_hear_of_it(bench: Bench) -> None:
    made = await bench.made(0)
    (again,) = await bench.run(bench.create(0))
    assert isinstance(again, AlreadyOurs)
    assert again.pod["metadata"]["uid"] == made["metadata"]["uid"]


@pytest.mark.parametrize("label", [LABEL_EXPERIMENT_UID, LABEL_TRIAL, LABEL_ATTEMPT])
async def test_pod_of_another_is_never_touched(bench: Bench, label: str) -> None:
    foreign = attempt_pod(bench.namespace, "digits-00000-1", {label: "another"})
    before = await bench.kube.create(PODS, bench.namespace, foreign)
    outcome, other = await bench.run(bench.create(0), bench.create(1))
    assert isinstance(outcome, AlreadyForeign)
    assert outcome.pod["metadata"]["uid"] == before["metadata"]["uid"]
    assert isinstance(other, Created)
    assert bench.informer.get(bench.namespace, "digits-00000-1") is None


async def test_creation_stops_at_the_quota(bench: Bench) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"count/pods": "2"}}}
    await bench.kube.create(QUOTAS, bench.namespace, quota)

    async def counted() -> bool:
        found = await bench.kube.get(QUOTAS, bench.namespace, "few")
        return "used" in found.get("status", {})

    async def explain() -> str:
        return "the quota has not been counted"

    await eventually(counted, "the quota holds", 20, explain)
    outcomes = await bench.run(*[bench.create(number) for number in range(9)])
    kinds = [type(outcome) for outcome in outcomes]
    assert sorted(kinds[:3], key=str) == sorted([Created, Created, QuotaExceeded], key=str)
    assert kinds[3:] == [NotTried] * 6
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, QuotaExceeded)]
    assert "exceeded quota: few" in refused.message


async def test_delete_leaves_the_grace_and_the_finalizer(bench: Bench) -> None:
    pod = await bench.made(0)
    assert await bench.run(DeletePod(*where(pod))) == [Done(DeletePod(*where(pod)))]
    live = await bench.live(pod)
    assert live is not None
    first = live["metadata"]["deletionTimestamp"]
    assert live["metadata"]["finalizers"] == [POD_FINALIZER]
    known = bench.informer.get(bench.namespace, pod["metadata"]["name"])
    assert known is not None
    assert known.deleted is not None
    # Again, as after a crash, and with less patience: the grace that was granted stays.
    await bench.run(DeletePod(*where(pod), grace_seconds=0))
    live = await bench.live(pod)
    assert live is not None
    assert live["metadata"]["deletionTimestamp"] <= first


@pytest.mark.parametrize("action", [DeletePod, ReleasePod])
async def test_pod_with_another_uid_is_left_alone(
    bench: Bench, action: type[DeletePod] | type[ReleasePod]
) -> None:
    pod = await bench.made(0)
    before = await bench.live(pod)
    namespace, name, _ = where(pod)
    (outcome,) = await bench.run(action(namespace, name, OTHER_UID))
    assert isinstance(outcome, Done)
    after = await bench.live(pod)
    assert before is not None
    assert after is not None
    assert after["metadata"]["finalizers"] == before["metadata"]["finalizers"]
    assert "deletionTimestamp" not in after["metadata"]


@pytest.mark.parametrize("action", [DeletePod, ReleasePod])
async def test_pod_that_is_gone_is_done(
    bench: Bench, action: type[DeletePod] | type[ReleasePod]
) -> None:
    (outcome,) = await bench.run(action(bench.namespace, "nothing", OTHER_UID))
    assert isinstance(outcome, Done)


async def test_release_deletes_and_nothing_is_left(bench: Bench) -> None:
    pods = [await bench.made(number) for number in range(3)]
    await bench.run(DeletePod(*where(pods[0])))
    outcomes = await bench.run(*[ReleasePod(*where(pod)) for pod in pods])
    assert {type(outcome) for outcome in outcomes} == {Done}
    for pod in pods:
        await bench.gone(pod)


async def test_release_keeps_the_pod_when_told_to(bench: Bench) -> None:
    pod = await bench.made(0)
    for _ in range(2):
        await bench.run(ReleasePod(*where(pod), keep=True))
        live = await bench.live(pod)
        assert live is not None
        assert "finalizers" not in live["metadata"]
        assert "deletionTimestamp" not in live["metadata"]
    known = bench.informer.get(bench.namespace, pod["metadata"]["name"])
    assert known is not None
    assert not known.tracked


async def test_release_takes_no_finalizer_but_ours(bench: Bench) -> None:
    pod = await bench.made(0)
    both = [{"op": "add", "path": "/metadata/finalizers/0", "value": THEIRS}]
    await bench.kube.json_patch(PODS, bench.namespace, pod["metadata"]["name"], both)
    await bench.run(ReleasePod(*where(pod)))
    live = await bench.live(pod)
    assert live is not None
    assert live["metadata"]["finalizers"] == [THEIRS]
    assert "deletionTimestamp" in live["metadata"]


@pytest.fixture
async def experiment(bench: Bench) -> dict[str, Any]:
    return await bench.kube.create(EXPERIMENTS, bench.namespace, yaml.safe_load(EXPERIMENT))


async def test_experiment_finalizer_comes_and_goes(
    bench: Bench, experiment: dict[str, Any]
) -> None:
    async def finalizers() -> list[str]:
        live = await bench.kube.get(EXPERIMENTS, bench.namespace, "digits")
        return list(live["metadata"].get("finalizers", []))

    for _ in range(2):
        (outcome,) = await bench.run(AddExperimentFinalizer(*where(experiment)))
        assert isinstance(outcome, Done)
        assert await finalizers() == [EXPERIMENT_FINALIZER]
    other = RemoveExperimentFinalizer(bench.namespace, "digits", OTHER_UID)
    await bench.run(other)
    assert await finalizers() == [EXPERIMENT_FINALIZER]
    await bench.kube.delete(EXPERIMENTS, *where(experiment)[:2], uid=where(experiment)[2])
    assert await finalizers() == [EXPERIMENT_FINALIZER]
    for _ in range(2):
        (outcome,) = await bench.run(RemoveExperimentFinalizer(*where(experiment)))
        assert isinstance(outcome, Done)
        with pytest.raises(NotFound):
            await finalizers()


async def test_event_shows_up_at_the_experiment(bench: Bench, experiment: dict[str, Any]) -> None:
    event = EmitEvent("Warning", "TrialPreempted", "trial 00003 was evicted")
    assert await bench.run(event, event, experiment=experiment) == [Done(event)] * 2

    async def written() -> list[dict[str, Any]]:
        return (await bench.kube.list(EVENTS, bench.namespace))[0]

    async def explain() -> str:
        return "no event"

    (found,) = await eventually(written, "the event", 20, explain)
    assert found["involvedObject"]["uid"] == experiment["metadata"]["uid"]
    assert (found["type"], found["reason"]) == ("Warning", "TrialPreempted")
    assert found["message"] == "trial 00003 was evicted"
