"""All trainers of a namespace: one is played for each Pod as soon as it runs.

The watch of the Pods is also a history: which Pods there were, and when each was gone.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.chaos.ledger import Attempt
from tests.chaos.trainer import Trainer, World
from tune_operator.api.constants import LABEL_ATTEMPT, LABEL_TRIAL
from tune_operator.kube.errors import KubeError
from tune_operator.kube.resources import PODS
from tune_trainer.protocol import environment


class Pool:
    """Trainers by the UID of their Pod."""

    def __init__(self, world: World, namespace: str, seed: int) -> None:
        self._world = world
        self._namespace = namespace
        self._chance = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self.trainers: dict[str, Trainer] = {}
        self.pods: dict[str, Mapping[str, Any]] = {}
        """Those that exist, by UID."""

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Pool]:
        """Follow the Pods around the block."""
        following = asyncio.ensure_future(self._follow())
        try:
            yield self
        finally:
            for task in (following, *self._tasks):
                task.cancel()
            await asyncio.gather(following, *self._tasks, return_exceptions=True)

    def exposed(self) -> list[Trainer]:
        """Those at which a fault can be aimed, always in the same order."""
        found = [trainer for trainer in self.trainers.values() if trainer.exposed]
        return sorted(found, key=lambda trainer: trainer.entry.pod)

    async def _follow(self) -> None:
        kube = self._world.kube
        while True:
            try:
                items, version = await kube.list(PODS, self._namespace)
                for uid in self.pods.keys() - {item["metadata"]["uid"] for item in items}:
                    self._gone(uid)
                for item in items:
                    self._seen(item)
                while True:
                    async for kind, item in kube.watch(PODS, self._namespace, version):
                        version = item["metadata"]["resourceVersion"]
                        if kind == "DELETED":
                            self._gone(item["metadata"]["uid"])
                        elif kind != "BOOKMARK":
                            self._seen(item)
            except KubeError:
                await asyncio.sleep(0.2)

    def _seen(self, pod: Mapping[str, Any]) -> None:
        meta = pod["metadata"]
        uid = meta["uid"]
        self.pods[uid] = pod
        trainer = self.trainers.get(uid)
        running = pod["status"].get("phase") == "Running"
        if trainer is None and running and LABEL_TRIAL in meta.get("labels", {}):
            trainer = self._start(pod)
        if trainer is not None:
            trainer.pod = pod
            if meta.get("deletionTimestamp"):
                trainer.deleted()

    def _gone(self, uid: str) -> None:
        self.pods.pop(uid, None)

    def _start(self, pod: Mapping[str, Any]) -> Trainer:
        meta = pod["metadata"]
        entry = Attempt(
            trial=meta["labels"][LABEL_TRIAL],
            number=int(meta["labels"][LABEL_ATTEMPT]),
            uid=meta["uid"],
            pod=meta["name"],
            node=pod["spec"]["nodeName"],
        )
        self._world.ledger.attempts[entry.uid] = entry
        self._trust(pod)
        trainer = Trainer(self._world, pod, entry, self._chance.getrandbits(32))
        self.trainers[entry.uid] = trainer
        task = asyncio.ensure_future(self._play(trainer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return trainer

    async def _play(self, trainer: Trainer) -> None:
        try:
            await trainer.play()
        except Exception:  # noqa: BLE001 - a defect of the player makes the run fail, not hang
            self._world.ledger.note(f"player of {trainer.entry}: {traceback.format_exc()}")

    def _trust(self, pod: Mapping[str, Any]) -> None:
        door = self._world.door
        if door.context is None:
            (container,) = pod["spec"]["containers"]
            env = {each["name"]: each.get("value") for each in container["env"]}
            door.context = ssl.create_default_context(cadata=env[environment.CA])
