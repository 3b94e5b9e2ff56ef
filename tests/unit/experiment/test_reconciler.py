"""One look after the other at one experiment, over the real parts."""

from typing import Any

import pytest

from tests.model.cluster import ApiServer
from tests.unit.experiment.test_look import fail
from tests.unit.experiment.world import KEY, PLACE, World
from tests.unit.lifecycle.builders import UID
from tune_operator.api.constants import LABEL_EXPERIMENT, LABEL_EXPERIMENT_UID
from tune_operator.experiment.accepted import parse
from tune_operator.experiment.outcomes import QUOTA_SECONDS
from tune_operator.kube.errors import Forbidden, Invalid
from tune_operator.kube.resources import EXPERIMENTS, PODS
from tune_operator.kube.transport import Object, Request
from tune_operator.lifecycle.pod import name_of
from tune_operator.store.memory import MemoryStore
from tune_trainer.protocol.keys import CheckpointRef

ANOTHER = "0b1d9c4e-0000-4000-8000-000000000002"


def kinds(world: World) -> set[str]:
    """Types of the conditions that hold."""
    return {c["type"] for c in world.status["conditions"] if c["status"] == "True"}


def change(world: World, **spec: Any) -> None:
    """Somebody edits the specification."""

    def edit(obj: Object) -> None:
        obj["spec"].update(spec)
        obj["metadata"]["generation"] += 1

    world.server.change(PLACE, edit)


async def ended() -> World:
    """An experiment whose only trial errored."""
    world = World(failure={"maxFailures": 0})
    await world.look(3)
    place = next(place for place in world.server.objects if place[0] == PODS.plural)
    world.server.change(place, fail)
    world.see()
    await world.look(3)
    assert world.status["state"] == "Failed"
    return world


def becomes(world: World, kind: type[ApiServer]) -> None:
    """From now on the API server is one of this kind."""
    changed = kind(world.server.history, world.clock)
    changed.objects, changed.version = world.server.objects, world.server.version
    world.line.server = world.server = changed


class TestAfterTheEnd:
    async def test_a_change_that_could_not_run_takes_nothing_back(self) -> None:
        world = await ended()
        before = world.status
        change(world, numSamples=1_000_000)
        world.clock.advance(2)
        await world.look()
        assert world.status == {**before, "observedGeneration": 2}


class TestQuota:
    async def test_is_exceeded_while_a_pod_is_wanted_and_not_after_that(self) -> None:
        world = World()
        world.server.quota = True
        await world.look(4)
        assert "QuotaExceeded" in kinds(world)
        change(world, suspend=True)
        await world.look(2)
        assert world.status["live"] == {}
        assert "QuotaExceeded" not in kinds(world)

    async def test_costs_one_request_a_look_however_many_wait(self) -> None:
        world = World(numSamples=50, maxConcurrentTrials=50)
        world.server.quota = True
        await world.look(3)
        world.line.sent.clear()
        world.clock.advance(QUOTA_SECONDS + 1)
        await world.look()
        asked = [sent for sent in world.line.sent if "pods" in sent]
        assert [sent.split()[0] for sent in asked] == ["create"]


class Picky(ApiServer):
    """Takes no status any more, as after a change of the schema."""

    def handle(self, request: Request, who: str) -> Object:
        """See ApiServer."""
        if request.verb == "update":
            raise Invalid("status.live: too long")
        return super().handle(request, who)


class TestDeletion:
    async def test_needs_no_status_to_be_taken(self) -> None:
        world = World()
        await world.start()
        world.server.delete(PLACE)
        becomes(world, Picky)
        await world.look()
        world.clock.advance(600)
        world.see()
        await world.look()
        assert PLACE not in world.server.objects


class Guarded(ApiServer):
    """Lets nobody touch a Pod."""

    def handle(self, request: Request, who: str) -> Object:
        """See ApiServer."""
        if request.verb in ("patch", "delete") and "pods" in request.target:
            raise Forbidden("a policy says no")
        return super().handle(request, who)


class TestStrays:
    async def test_that_cannot_be_released_are_tried_ever_more_slowly_and_hold_up_nobody(
        self,
    ) -> None:
        world = World()
        await world.start()
        becomes(world, Guarded)
        old = world.server.objects[PLACE]
        world.server.remove(PLACE)
        metadata = {**old["metadata"], "uid": ANOTHER}
        made = world.server.make(EXPERIMENTS, {"metadata": metadata, "spec": old["spec"]})
        world.objects.observe("DELETED", old)
        world.objects.observe("ADDED", made)
        with pytest.raises(Forbidden):  # the worker's back-off is for whoever raises
            await world.reconciler.reconcile(KEY)
        assert ANOTHER in world.reconciler.runs, "the experiment of that name was looked at"


class TestWaiting:
    async def test_for_a_node_is_told_once_however_long_it_takes(self) -> None:
        world = World()
        await world.look(3)
        pod = next(place for place in world.server.objects if place[0] == PODS.plural)
        nowhere = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        world.server.change(pod, lambda obj: obj["status"].update(conditions=[nowhere]))
        world.see()
        for _ in range(10):
            world.clock.advance(600)
            await world.look()
        assert world.told.reasons.count("TrialNotScheduled") == 1


class TestOthers:
    """Labels are anybody's: a Pod that only carries them is not ours to delete."""

    async def test_a_pod_with_our_label_and_nothing_else_of_ours_is_left_alone(self) -> None:
        world = World()
        await world.start()
        metadata = {
            "namespace": KEY[0],
            "name": "tensorboard",
            "labels": {LABEL_EXPERIMENT_UID: UID, LABEL_EXPERIMENT: KEY[1]},
        }
        world.server.make(PODS, {"metadata": metadata, "spec": {}})
        world.see()
        await world.look(2)
        world.server.delete(PLACE)
        world.clock.advance(600)
        world.see()
        await world.look()
        assert PLACE not in world.server.objects, "it holds up no deletion either"
        world.objects.observe("DELETED", {"metadata": {**metadata, "uid": UID, "name": KEY[1]}})
        await world.reconciler.reconcile(KEY)
        pod = world.server.objects[PODS.plural, KEY[0], "tensorboard"]
        assert "deletionTimestamp" not in pod["metadata"]


class TestTakenNames:
    async def test_a_foreign_pod_holds_up_one_trial_and_not_those_beside_it(self) -> None:
        world = World(numSamples=2, maxConcurrentTrials=1)
        experiment = parse(world.server.objects[PLACE])
        name = name_of(experiment, "00000", 1)
        world.server.make(PODS, {"metadata": {"namespace": KEY[0], "name": name}, "spec": {}})
        await world.look(3)
        assert "NameConflict" in kinds(world)
        change(world, maxConcurrentTrials=2)
        await world.look(2)
        made = [pod["metadata"]["name"] for pod in world.server.of(PODS)]
        assert name_of(experiment, "00001", 1) in made
        assert "NameConflict" in kinds(world)

    async def test_a_new_leader_shows_and_tells_nothing_until_it_has_tried_itself(self) -> None:
        world = World()
        name = name_of(parse(world.server.objects[PLACE]), "00000", 1)
        world.server.make(PODS, {"metadata": {"namespace": KEY[0], "name": name}, "spec": {}})
        await world.look(3)
        before = next(c for c in world.status["conditions"] if c["type"] == "NameConflict")
        heir = World(world.store)
        heir.line.server = heir.server = world.server
        world.clock.advance(100)
        for _ in range(4):
            await heir.look()
            assert before in heir.status["conditions"]
        assert "NameConflict" in world.told.reasons
        assert "NameConflict" not in heir.told.reasons


class TestAttempts:
    async def test_are_above_those_that_only_the_store_knows_of(self) -> None:
        """As after the loss of the journal's newest segments."""
        world = World(failure={"maxFailures": 3, "backoff": {"initialSeconds": 0}})
        await world.start()
        lost = world.run.keys.trial("00000").manifest(CheckpointRef(6, 3))
        await world.store.put(lost, b"{}")
        pod = next(place for place in world.server.objects if place[0] == PODS.plural)
        world.server.change(pod, fail)
        world.see()
        await world.look(3)
        (trial,) = world.run.durable.trials
        assert (trial.attempt, trial.plan, trial.failures) == (7, (), 1)


class TestTwoOperators:
    async def test_whoever_was_displaced_shows_nothing_for_a_while(self) -> None:
        store = MemoryStore()
        old = World(store)
        await old.look(3)
        new = World(store)
        new.line.server = new.server = old.server
        await new.look(3)
        pod = next(place for place in old.server.objects if place[0] == PODS.plural)
        old.server.change(pod, stuck)
        new.see()
        await new.look(2)
        assert "Stalled" in kinds(new)
        await old.look()  # finds out
        version = old.server.version
        for _ in range(5):
            await old.look()
            await new.look()
        assert old.server.version == version


def stuck(pod: Object) -> None:
    """Its image cannot be had."""
    since = "2026-03-01T12:00:00Z"
    pod["spec"]["nodeName"] = "node-1"
    pod["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": since}],
        "containerStatuses": [
            {"name": "trainer", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
        ],
    }
