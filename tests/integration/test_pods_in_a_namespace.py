"""Pods among the others of their namespace: its quota, taken names, and which of them stay."""

import time
from collections.abc import Mapping
from typing import Any

from tests import audit
from tests.clusters import Cluster
from tests.integration.fleet import template
from tests.integration.lab import Lab
from tests.integration.player import Player
from tune_operator.experiment.outcomes import QUOTA_SECONDS
from tune_operator.kube.resources import PODS, Resource

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")


async def allow(lab: Lab, pods: int) -> None:
    """A quota that is in force."""
    body = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": str(pods)}}}
    await lab.kube.create(QUOTAS, lab.namespace, body)

    async def counted() -> bool:
        status = (await lab.kube.get(QUOTAS, lab.namespace, "few")).get("status", {})
        return "pods" in status.get("used", {})

    await lab.until(counted, "the quota is in force", "few")


def creations(cluster: Cluster, namespace: str, code: int) -> int:
    """Pods that were asked for in a namespace and answered so, as the audit log has it."""
    return sum(refused(event, namespace, code) for event in audit.events(cluster.audit))


def refused(event: Mapping[str, Any], namespace: str, code: int) -> bool:
    """Whether an event of the audit log is such a creation."""
    thing = event.get("objectRef", {})
    return (
        event["verb"] == "create"
        and (thing.get("resource"), thing.get("namespace")) == ("pods", namespace)
        and "dryRun" not in event["requestURI"]
        and event["responseStatus"]["code"] == code
    )


async def test_trials_beyond_the_quota_wait_for_room_and_hardly_ask(
    lab: Lab, cluster: Cluster
) -> None:
    lab.patience = 3 * QUOTA_SECONDS  # nobody says when there is room
    await allow(lab, 2)
    began = time.monotonic()
    await lab.apply("crowded", numSamples=5, maxConcurrentTrials=5)
    assert "few" in await lab.condition("crowded", "QuotaExceeded", "True")
    await lab.event("crowded", "QuotaExceeded")
    running = [await player_of(lab, pod) for pod in await lab.pods("crowded")]
    assert len(running) == 2
    for player in running:
        await player.train(5)
        await player.complete()

    known = {player.pod["metadata"]["uid"] for player in running}

    async def more() -> bool:
        done = (await lab.get("crowded"))["status"]["done"] == "2/5"
        pods = {pod["metadata"]["uid"] for pod in await lab.pods("crowded")}
        return done and len(pods - known) == 2

    await lab.until(more, "two are done, two others have started", "crowded")
    status = (await lab.get("crowded"))["status"]
    assert (status["failures"], status["infrastructure"]) == (0, 0)
    asked = 1 + (time.monotonic() - began) // QUOTA_SECONDS
    assert creations(cluster, lab.namespace, 403) <= asked + 1


async def player_of(lab: Lab, pod: dict[str, Any]) -> Player:
    """The trainer of one of the experiment's Pods."""
    _, trial, attempt = pod["metadata"]["name"].rsplit("-", 2)
    return await lab.player(pod["metadata"]["name"].rsplit("-", 3)[0], trial, int(attempt))


async def test_the_last_errored_pods_stay_for_people_until_the_experiment_goes(lab: Lab) -> None:
    await lab.apply(
        "kept", numSamples=3, failure={"maxFailures": 0}, cleanup={"keepErroredPods": 2}
    )
    for trial in ("00000", "00001", "00002"):
        await (await lab.player("kept", trial, 1)).exit(1)
        await lab.trial("kept", trial, lambda row: row["state"] == "Errored")

    async def settled() -> list[str] | None:
        # The third stays held for a moment after its trial reads Errored, and the first goes last.
        pods = await lab.pods("kept")
        held = [pod for pod in pods if pod["metadata"].get("finalizers")]
        return None if held or len(pods) > 2 else [pod["metadata"]["name"][-7:] for pod in pods]

    assert await lab.until(settled, "nothing holds them, and one is gone", "kept") == [
        "00001-1",
        "00002-1",
    ]
    await lab.condition("kept", "Failed", "True")
    await lab.delete("kept")
    await lab.gone("kept")


async def test_a_pod_stays_for_its_time_after_it_ended(lab: Lab) -> None:
    await lab.apply("lingering", cleanup={"podTTLSeconds": 3})
    player = await lab.player("lingering", "00000", 1)
    await player.train(1)
    before = time.monotonic()
    await player.complete()
    metas = [pod["metadata"] for pod in await versions(lab, player.pod)]
    assert time.monotonic() - before > 2, "three, less what whole seconds leave out"
    assert any("finalizers" not in meta and "deletionTimestamp" not in meta for meta in metas)
    await lab.condition("lingering", "Complete", "True")


async def versions(lab: Lab, pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every later version of a Pod until it is gone, however short it was so."""
    found: list[dict[str, Any]] = []
    version = pod["metadata"]["resourceVersion"]
    while True:
        async for kind, item in lab.kube.watch(PODS, lab.namespace, version):
            version = item["metadata"]["resourceVersion"]
            if item["metadata"].get("uid") == pod["metadata"]["uid"]:
                if kind == "DELETED":
                    return found
                found.append(dict(item))


async def test_ended_pods_are_gone_at_once_unless_asked_for(lab: Lab) -> None:
    await lab.apply(
        "tidy",
        trainer=None,
        template=template(),
        cleanup={"keepErroredPods": 0},
        failure={"maxFailures": 0},
    )
    await (await lab.player("tidy", "00000", 1)).exit(1)
    await lab.condition("tidy", "Failed", "True")
    await lab.no_pods("tidy")
