"""When runs are collected and purged, beside the looks at their experiments."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faulty_store import Fault, FaultyStore, Operation, once
from tests.unit.experiment.stored import data_of, manifest
from tests.unit.experiment.test_look import fail
from tests.unit.experiment.world import PLACE, World
from tune_operator.experiment.collector import GRACE_SECONDS
from tune_operator.experiment.retention import (
    ENDED_TRIES,
    PACE_SECONDS,
    PURGE_RETRY_SECONDS,
    RETRY_SECONDS,
)
from tune_operator.kube.resources import PODS
from tune_operator.store.memory import MemoryStore
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import CheckpointRef, parse_manifest_key


def commit(world: World, bucket: MemoryStore, *iterations: int) -> None:
    keys = world.run.keys.trial("00000")
    for iteration in iterations:
        ref = CheckpointRef(1, iteration)
        bucket.objects[f"{keys.data(ref, 'n1')}model"] = data_of(ref)
        made = manifest(ref, {"accuracy": float(-iteration)})
        bucket.objects[keys.manifest(ref)] = made.to_bytes()


def iterations(bucket: MemoryStore) -> set[int]:
    found = [parse_manifest_key(key) for key in bucket.objects if "/m/" in key]
    return {ref.iteration for ref in found if ref is not None}


async def running(
    bucket: MemoryStore, store: ObjectStore | None = None, policy: str = "Retain", **spec: Any
) -> World:
    """An experiment whose one trial runs and has saved five times."""
    world = World(store or bucket, **spec)
    world.server.objects[PLACE]["spec"]["storage"]["deletionPolicy"] = policy
    await world.start()
    commit(world, bucket, 1, 2, 3, 4, 5)
    return world


async def ended(bucket: MemoryStore, **spec: Any) -> World:
    """The same experiment, ended by a failure of its trial."""
    world = await running(bucket, failure={"maxFailures": 0}, **spec)
    place = next(place for place in world.server.objects if place[0] == PODS.plural)
    world.server.change(place, fail)
    for _ in range(3):
        await relist(world)
        await world.look()
    assert world.status["state"] == "Failed"
    return world


async def due(world: World) -> bool:
    """Handle what is due of retention; whether anything was."""
    some = False
    world.retention.queue._ring()
    while len(world.retention.queue):
        uid = await world.retention.queue.get()
        await world.retention.handle(uid)
        world.retention.queue.done(uid)
        some = True
    return some


def outcomes(world: World, outcome: str) -> float:
    labels = {"outcome": outcome}
    return world.metrics.registry.get_sample_value("tune_retention_passes_total", labels) or 0.0


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


def refuse(operation: Operation) -> Fault | None:
    """Keys that may not delete."""
    return Fault.REFUSED if operation.name == "delete" else None


class TestCollecting:
    async def test_comes_some_time_after_a_commit_of_the_journal(self, bucket: MemoryStore) -> None:
        world = await running(bucket)
        assert not await due(world)
        world.clock.advance(PACE_SECONDS)
        assert await due(world)
        assert iterations(bucket) == {1, 4, 5}

    async def test_keep_is_taken_from_the_object_as_it_is_now(self, bucket: MemoryStore) -> None:
        world = await running(bucket, checkpoint={"keep": {"latest": 5}})
        world.clock.advance(PACE_SECONDS)
        await due(world)
        assert iterations(bucket) == {1, 2, 3, 4, 5}

        def edit(obj: dict[str, Any]) -> None:
            obj["spec"]["checkpoint"] = {"keep": {"latest": 3, "best": 0}}
            obj["metadata"]["generation"] += 1

        world.server.change(PLACE, edit)
        await world.look()
        world.retention.sweep()
        world.clock.advance(PACE_SECONDS)
        await due(world)
        assert iterations(bucket) == {3, 4, 5}

    async def test_a_store_that_refuses_holds_up_nothing(self, bucket: MemoryStore) -> None:
        store = FaultyStore(bucket, refuse)
        world = await running(bucket, store)
        world.clock.advance(PACE_SECONDS)
        await due(world)
        assert outcomes(world, "failed") == 1
        await world.look()
        assert {c["type"]: c["status"] for c in world.status["conditions"]}[
            "StorageAvailable"
        ] == "True"
        store.script = lambda _: None
        world.clock.advance(RETRY_SECONDS)
        await due(world)
        assert iterations(bucket) == {1, 4, 5}

    async def test_of_an_ended_run_goes_on_until_the_grace_is_over(
        self, bucket: MemoryStore
    ) -> None:
        world = await ended(bucket)
        assert world.run.journal is None
        world.clock.advance(PACE_SECONDS)
        await due(world)
        assert iterations(bucket) == {1, 4, 5}
        world.clock.advance(GRACE_SECONDS)
        assert await due(world)
        assert sum("/d/" in key for key in bucket.objects) == 3
        world.retention.sweep()
        world.clock.advance(PACE_SECONDS)
        assert not await due(world), "and then it is forgotten"

    async def test_of_an_ended_run_is_given_up_where_nothing_may_be_deleted(
        self, bucket: MemoryStore
    ) -> None:
        world = await ended(bucket)
        world.store = FaultyStore(bucket, refuse)
        world.clock.advance(PACE_SECONDS)
        for _ in range(ENDED_TRIES):
            assert await due(world)
            world.clock.advance(RETRY_SECONDS)
        assert not await due(world)
        assert outcomes(world, "given up") == 1
        assert iterations(bucket) == {1, 2, 3, 4, 5}

    async def test_who_lost_the_run_collects_nothing(self, bucket: MemoryStore) -> None:
        world = await running(bucket)
        world.run.forget()
        world.clock.advance(PACE_SECONDS)
        await due(world)
        assert outcomes(world, "skipped") == 1
        assert iterations(bucket) == {1, 2, 3, 4, 5}


async def relist(world: World) -> None:
    """The view of the Pods is as new as can be, also of those that are gone."""
    for scope in world.pods._scopes.values():
        await world.pods._list(scope)


async def gone(world: World, times: int = 6) -> bool:
    """Look, and do what is due beside it; whether the object is gone then."""
    for _ in range(times):
        await relist(world)
        if PLACE in world.server.objects:
            await world.look()
            await due(world)
    return PLACE not in world.server.objects


async def deleted(bucket: MemoryStore, policy: str, store: ObjectStore | None = None) -> World:
    """A deleted experiment whose only attempt has just ended."""
    world = World(store or bucket)
    world.server.objects[PLACE]["spec"]["storage"]["deletionPolicy"] = policy
    await world.start()
    commit(world, bucket, 1, 2)
    world.server.delete(PLACE)
    await world.look(2)
    place = next(place for place in world.server.objects if place[0] == PODS.plural)
    world.server.change(place, fail)
    return world


class TestDeletionPolicy:
    async def test_delete_leaves_nothing(self, bucket: MemoryStore) -> None:
        world = await deleted(bucket, "Delete")
        assert await gone(world)
        assert bucket.objects == {}
        assert "StorageRemains" not in world.told.reasons
        assert outcomes(world, "purged") == 1

    async def test_retain_leaves_all(self, bucket: MemoryStore) -> None:
        world = await deleted(bucket, "Retain")
        assert await gone(world)
        assert iterations(bucket) == {1, 2}
        assert any("/j/" in key for key in bucket.objects)

    async def test_nothing_goes_while_a_trainer_saves(self, bucket: MemoryStore) -> None:
        world = World(bucket)
        world.server.objects[PLACE]["spec"]["storage"]["deletionPolicy"] = "Delete"
        await world.start()
        commit(world, bucket, 1)
        world.server.delete(PLACE)
        assert not await gone(world)
        assert iterations(bucket) == {1}

    async def test_of_an_ended_run_needs_no_journal(self, bucket: MemoryStore) -> None:
        world = await ended(bucket, policy="Delete", cleanup={"keepErroredPods": 0})
        assert world.run.journal is None
        world.server.delete(PLACE)
        assert await gone(world)
        assert bucket.objects == {}

    async def test_a_store_that_refuses_keeps_the_object_no_longer_than_its_bound(
        self, bucket: MemoryStore
    ) -> None:
        store = FaultyStore(bucket, refuse)
        world = await deleted(bucket, "Delete", store)
        assert not await gone(world)
        assert outcomes(world, "failed") >= 1
        world.clock.advance(600)
        assert await gone(world)
        assert world.told.reasons.count("StorageRemains") == 1
        assert iterations(bucket) == {1, 2}

    async def test_what_failed_is_tried_again_in_time(self, bucket: MemoryStore) -> None:
        store = FaultyStore(bucket, once("delete", Fault.LOST))
        world = await deleted(bucket, "Delete", store)
        assert not await gone(world)
        world.clock.advance(PURGE_RETRY_SECONDS)
        assert await gone(world)
        assert bucket.objects == {}

    @pytest.mark.parametrize("left", ["half", "nothing"])
    async def test_an_operator_that_restarts_goes_on_with_it(
        self, bucket: MemoryStore, left: str
    ) -> None:
        store = FaultyStore(bucket)
        world = await deleted(bucket, "Delete", store)
        part = "/j/" if left == "half" else "no such"
        store.script = once("delete", Fault.LOST, part)
        while PLACE in world.server.objects and not outcomes(world, "purged"):
            await relist(world)
            await world.look()
            await due(world)
            if outcomes(world, "failed"):
                break
        assert PLACE in world.server.objects
        assert (bucket.objects == {}) is (left == "nothing")
        after = World(store)
        after.server.objects, after.server.version = world.server.objects, world.server.version
        assert await gone(after)
        assert bucket.objects == {}
        assert "StorageRemains" not in after.told.reasons

    async def test_what_never_began_has_no_storage_to_wait_for(self, bucket: MemoryStore) -> None:
        store = FaultyStore(bucket)
        store.down = True
        world = World(store)
        world.server.objects[PLACE]["spec"]["storage"]["deletionPolicy"] = "Delete"
        await world.look(2)
        world.server.delete(PLACE)
        assert await gone(world, 1)
