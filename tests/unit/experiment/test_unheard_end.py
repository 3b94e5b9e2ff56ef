"""Pods whose deletion is heard of before that of their experiment, or of their namespace."""

from tests.model.cluster import Place
from tests.unit.experiment.test_look import fail
from tests.unit.experiment.world import KEY, PLACE, World
from tune_operator.api import constants
from tune_operator.kube.resources import PODS
from tune_operator.kube.transport import Object
from tune_operator.lifecycle.trial_state import Phase, TrialState

STRICT = {"maxFailures": 0}
"""The first thing that is counted ends the run for good."""


def pod_of(world: World) -> Place:
    """Where the only Pod is."""
    (place,) = (place for place in world.server.objects if place[0] == PODS.plural)
    return place


def trial(world: World) -> TrialState:
    return world.run.durable.trials[0]


async def unplaced() -> World:
    """The first trial's Pod is bound and waits for a node: deleted, it is over at once."""
    world = World(failure=STRICT)
    await world.look(3)
    world.see()
    await world.look()
    assert trial(world).pod_uid
    world.line.sent.clear()
    world.told.reasons.clear()
    return world


async def look_at_what_is_known(world: World) -> None:
    """No event of the experiment has come."""
    await world.reconciler.reconcile(KEY)


def asked_for_the_experiment(world: World) -> int:
    return sum(sent.startswith("get tuneexperiments") for sent in world.line.sent)


def hear_it_go(world: World, pod: Object) -> None:
    """The watch tells that this Pod is gone, or not ours any more."""
    scope = world.pods._scope(KEY[0])
    assert scope is not None
    world.pods._hear(scope, "DELETED", pod)


class TestForegroundDeletion:
    """The garbage collector deletes the Pods of an experiment that is marked as deleted."""

    async def test_counts_nothing_although_the_pods_event_comes_first(self) -> None:
        world = await unplaced()
        world.server.delete(PLACE)
        pod = world.server.delete(pod_of(world))
        world.see()
        await look_at_what_is_known(world)
        run = world.run
        assert run.durable.ended is None
        assert (trial(world).phase, trial(world).disruptions) == (Phase.RUNNING, 0)
        await look_at_what_is_known(world)
        hear_it_go(world, pod)
        await look_at_what_is_known(world)
        assert PLACE not in world.server.objects
        assert "ExperimentFailed" not in world.told.reasons
        assert "ExperimentStopped" in world.told.reasons
        assert run.durable.released
        (ended,) = run.durable.trials
        assert (ended.phase, ended.open, ended.disruptions) == (Phase.PENDING, False, 0)

    async def test_counts_nothing_when_the_pod_is_only_found_by_asking_for_it(self) -> None:
        world = await unplaced()
        place = pod_of(world)
        stripped = world.server.change(
            place, lambda pod: pod["metadata"]["labels"].pop(constants.LABEL_EXPERIMENT_UID)
        )
        hear_it_go(world, stripped)
        world.server.delete(PLACE)
        world.server.delete(place)
        await look_at_what_is_known(world)
        assert (trial(world).open, trial(world).disruptions) == (True, 0)

    async def test_of_an_experiment_that_is_gone_already_counts_nothing(self) -> None:
        world = await unplaced()
        run = world.run
        world.server.remove(PLACE)
        world.server.delete(pod_of(world))
        world.see()
        await look_at_what_is_known(world)
        assert (run.durable.ended, run.durable.trials[0].disruptions) == (None, 0)
        await look_at_what_is_known(world)
        assert not world.server.of(PODS)
        assert world.told.reasons == []


class TestDeletionByAStranger:
    async def test_costs_a_disruption_and_one_question(self) -> None:
        world = await unplaced()
        world.server.delete(pod_of(world))
        world.see()
        await look_at_what_is_known(world)
        assert (trial(world).phase, trial(world).disruptions) == (Phase.ERRORED, 1)
        assert asked_for_the_experiment(world) == 1

    async def test_of_a_pod_that_still_saves_is_asked_about_once(self) -> None:
        world = World()
        await world.start()
        world.server.delete(pod_of(world))
        world.see()
        world.line.sent.clear()
        for _ in range(3):
            await look_at_what_is_known(world)
        assert asked_for_the_experiment(world) == 1
        assert trial(world).open
        world.server.change(pod_of(world), fail)
        world.see()
        await look_at_what_is_known(world)
        assert trial(world).disruptions == 1
        assert asked_for_the_experiment(world) == 1

    async def test_is_counted_by_what_is_newest(self) -> None:
        """A change that came with it is decided by, not overwritten."""
        world = await unplaced()
        world.server.change(PLACE, lambda obj: obj["metadata"].update(labels={"team": "a"}))
        world.server.delete(pod_of(world))
        world.see()
        await look_at_what_is_known(world)
        assert trial(world).disruptions == 0
        await look_at_what_is_known(world)
        assert trial(world).disruptions == 1
