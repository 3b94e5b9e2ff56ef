"""Experiments on the test cluster: make them, watch them, play their trainers, wait for facts."""

import copy
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from tests.clusters import Bucket
from tests.integration.operator_process import OperatorProcess
from tests.integration.player import Player, dump
from tests.polling import eventually
from tune_operator.api.constants import GROUP, KIND, LABEL_EXPERIMENT, VERSION
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.resources import EVENTS, EXPERIMENTS, PODS, SECRETS, Resource
from tune_trainer.protocol import environment

T = TypeVar("T")
SECRET = "storage"
PATIENCE = 25.0
"""Seconds after which a fact that did not come true fails the test."""

SPEC: dict[str, Any] = {
    "objective": {"metric": "mean_accuracy", "mode": "max"},
    "numSamples": 1,
    "maxConcurrentTrials": 1,
    "search": {"seed": 7, "space": {"lr": {"loguniform": {"lower": 0.001, "upper": 0.1}}}},
    "stop": {"criteria": {"training_iteration": 10}},
    "checkpoint": {"frequency": 2, "atEnd": True},
    "failure": {"maxFailures": 3, "backoff": {"initialSeconds": 0, "maxSeconds": 0}},
    "stopGracePeriodSeconds": 20,
    "trainer": {"image": "dev.local/played:1", "entrypoint": "played:Played"},
}


class Lab:
    """One namespace with a storage Secret, and the operator that watches it."""

    def __init__(
        self, kube: Kube, namespace: str, bucket: Bucket, operator: OperatorProcess
    ) -> None:
        self.kube = kube
        self.namespace = namespace
        self.bucket = bucket
        self.operator = operator
        self.patience = PATIENCE

    async def secret(self, name: str = SECRET, **keys: str) -> None:
        """The store's keys; right ones unless given."""
        values = {
            environment.ACCESS_KEY: self.bucket.access_key,
            environment.SECRET_KEY: self.bucket.secret_key,
            **keys,
        }
        body = {"metadata": {"name": name, "namespace": self.namespace}, "stringData": values}
        await self.kube.create(SECRETS, self.namespace, body)

    def manifest(self, name: str, **changes: Any) -> dict[str, Any]:
        """An experiment; ``changes`` replace whole sections of the specification."""
        storage = {
            "uri": f"s3://{self.bucket.bucket}/{self.namespace}",
            "endpoint": self.bucket.endpoint,
            "credentials": {"mode": "Secret", "secretRef": {"name": SECRET}},
        }
        spec = {**copy.deepcopy(SPEC), "storage": storage, **changes}
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }

    async def apply(self, name: str, **changes: Any) -> dict[str, Any]:
        """Create the experiment."""
        return await self.kube.create(EXPERIMENTS, self.namespace, self.manifest(name, **changes))

    async def get(self, name: str) -> dict[str, Any]:
        """The experiment as it is now."""
        return await self.kube.get(EXPERIMENTS, self.namespace, name)

    async def change(self, name: str, path: str, value: Any) -> None:
        """kubectl patch of one field of the specification."""
        ops = [{"op": "replace", "path": f"/spec/{path}", "value": value}]
        await self.kube.json_patch(EXPERIMENTS, self.namespace, name, ops)

    async def delete_pod(self, pod: Mapping[str, Any], grace_seconds: int | None = None) -> None:
        """kubectl delete pod; with ``--grace-period=0 --force`` for 0 seconds."""
        meta = pod["metadata"]
        await self.kube.delete(
            PODS, self.namespace, meta["name"], uid=meta["uid"], grace_seconds=grace_seconds
        )

    async def mark(self, pod: Mapping[str, Any], condition: str, reason: str) -> None:
        """Set a condition of the Pod, as the controller that will take it away does.

        Kubernetes takes back a DisruptionTarget that is two minutes old, or of no time at all.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"type": condition, "status": "True", "reason": reason, "lastTransitionTime": now}
        ops = [{"op": "add", "path": "/status/conditions/-", "value": entry}]
        this = Resource("", "v1", f"pods/{pod['metadata']['name']}", "Pod")
        await self.kube.json_patch(this, self.namespace, "status", ops)

    async def delete(self, name: str) -> None:
        """kubectl delete."""
        obj = await self.get(name)
        await self.kube.delete(EXPERIMENTS, self.namespace, name, uid=obj["metadata"]["uid"])

    async def pods(self, name: str) -> list[dict[str, Any]]:
        """All Pods of the experiment, in order of trial and attempt."""
        items, _ = await self.kube.list(
            PODS, self.namespace, label_selector=f"{LABEL_EXPERIMENT}={name}"
        )
        return sorted(items, key=lambda pod: str(pod["metadata"]["name"]))

    async def bare_pod(self, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A Pod that nobody made for an attempt, whatever its labels say."""
        spec = {"containers": [{"name": "main", "image": "dev.local/played:1"}]}
        metadata = {"name": name, "namespace": self.namespace, "labels": dict(labels or {})}
        body = {"metadata": metadata, "spec": spec}
        return await self.kube.create(PODS, self.namespace, body)

    async def pod(
        self, name: str, trial: str, attempt: int, accept: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Wait until the attempt's Pod is as wanted."""

        async def found() -> dict[str, Any] | None:
            for pod in await self.pods(name):
                if pod["metadata"]["name"].endswith(f"-{trial}-{attempt}") and accept(pod):
                    return pod
            return None

        return await self.until(found, f"Pod {trial}-{attempt} of {name} as wanted", name)

    async def player(self, name: str, trial: str, attempt: int) -> Player:
        """The trainer of a Pod, once the Pod runs; its session is opened."""
        pod = await self.pod(
            name, trial, attempt, lambda pod: pod["status"].get("phase") == "Running"
        )
        player = Player(self.kube, self.bucket, pod)
        await player.start()
        return player

    async def evict(self, pod: Mapping[str, Any]) -> None:
        """The Eviction API, as a drain uses it."""
        meta = pod["metadata"]
        eviction = Resource("", "v1", f"pods/{meta['name']}/eviction", "Eviction")
        body = {
            "apiVersion": "policy/v1",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        }
        await self.kube.create(eviction, meta["namespace"], body)

    async def condition(self, name: str, kind: str, status: str, reason: str = "") -> str:
        """Wait for a condition; its message."""

        async def found() -> str | None:
            for entry in (await self.get(name)).get("status", {}).get("conditions", []):
                if (entry["type"], entry["status"]) == (kind, status) and (
                    reason in ("", entry["reason"])
                ):
                    return f"{entry['reason']}: {entry.get('message', '')}"
            return None

        return await self.until(found, f"{kind}={status} {reason}", name)

    async def trial(
        self, name: str, trial: str, accept: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Wait until the trial's row is as wanted."""

        async def found() -> dict[str, Any] | None:
            for row in (await self.get(name)).get("status", {}).get("trials", []):
                if row["name"] == trial and accept(row):
                    return dict(row)
            return None

        return await self.until(found, f"trial {trial} as wanted", name)

    async def events(self, name: str) -> dict[str, str]:
        """Reason → message of the experiment's events."""
        items, _ = await self.kube.list(EVENTS, self.namespace)
        return {e["reason"]: e["message"] for e in items if e["involvedObject"]["name"] == name}

    async def event(self, name: str, reason: str) -> str:
        """Wait for an event; its message."""

        async def found() -> str | None:
            return (await self.events(name)).get(reason)

        return await self.until(found, f"event {reason}", name)

    async def told(self, name: str, reason: str) -> list[str]:
        """Messages of all events of this reason, a repeated one as often as it was told."""
        items, _ = await self.kube.list(EVENTS, self.namespace)
        return [
            event["message"]
            for event in items
            if (event["involvedObject"]["name"], event["reason"]) == (name, reason)
            for _ in range(event.get("count", 1))
        ]

    async def only(self, name: str, *pods: Mapping[str, Any]) -> None:
        """Wait until these are all Pods: an attempt begins before the last one's is released."""
        wanted = {pod["metadata"]["uid"] for pod in pods}

        async def found() -> bool:
            return {pod["metadata"]["uid"] for pod in await self.pods(name)} == wanted

        names = ", ".join(pod["metadata"]["name"] for pod in pods)
        await self.until(found, f"{names} are all Pods", name)

    async def no_pods(self, name: str) -> None:
        """Wait until the last Pod was released: that comes after the status was written."""

        async def found() -> bool:
            return not await self.pods(name)

        await self.until(found, f"no Pod of {name} is left", name)

    async def gone(self, name: str) -> None:
        """Wait until neither the experiment nor any of its Pods exists."""

        async def found() -> bool:
            try:
                await self.get(name)
            except NotFound:
                return not await self.pods(name)
            return False

        await self.until(found, f"{name} and its Pods are gone", name)

    async def clear(self) -> None:
        """Delete all experiments, and wait for their end: their nodes may go after that."""
        items, _ = await self.kube.list(EXPERIMENTS, self.namespace)
        for item in items:
            await self.delete(item["metadata"]["name"])

        async def found() -> bool:
            left, _ = await self.kube.list(EXPERIMENTS, self.namespace)
            pods, _ = await self.kube.list(PODS, self.namespace, label_selector=LABEL_EXPERIMENT)
            return not left and not pods

        for item in items[:1]:
            await self.until(found, "nothing is left", item["metadata"]["name"])

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str, name: str) -> T:
        """The first true answer; fails with the experiment's state and the operator's log."""
        return await eventually(look, what, self.patience, lambda: self._state(name))

    async def _state(self, name: str) -> str:
        try:
            status = dump((await self.get(name)).get("status"))
        except NotFound:
            status = "(no such experiment)"
        pods = [
            f"{pod['metadata']['name']} {pod['status'].get('phase')} "
            f"deleted={pod['metadata'].get('deletionTimestamp')} "
            f"finalizers={pod['metadata'].get('finalizers')}"
            for pod in await self.pods(name)
        ]
        log = "\n".join(self.operator.log.read_text().splitlines()[-40:])
        return f"{status}\nPods: {dump(pods)}\nOperator:\n{log}"
