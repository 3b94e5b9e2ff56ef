"""A change of a running experiment that cannot be accepted: what runs goes on as before it."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.experiment.test_look import fail
from tests.unit.experiment.test_reconciler import change, ended
from tests.unit.experiment.test_unheard_end import hear_it_go
from tests.unit.experiment.world import PLACE, World
from tune_operator.experiment import gates
from tune_operator.experiment.segments import unpack
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle.trial_state import Phase
from tune_operator.reports.identity import PodIdentity
from tune_operator.store.errors import Unreachable
from tune_operator.store.memory import MemoryStore
from tune_trainer.protocol.messages import ResultsRequest, SessionRequest
from tune_trainer.protocol.result import Result

TOO_MANY = 20_000
"""Trials; the CRD lets more through than an operator holds in memory."""


def condition(world: World, kind: str) -> Mapping[str, Any]:
    (found,) = (each for each in world.status["conditions"] if each["type"] == kind)
    return dict(found)


async def refused(store: MemoryStore | None = None) -> tuple[World, PodIdentity]:
    """The first of three trials runs; then somebody asks for more than there can be."""
    world = World(store, numSamples=3)
    who = await world.start()
    change(world, numSamples=TOO_MANY)
    await world.look()
    return world, who


class TestWhatRuns:
    async def test_is_told_what_is_wrong_and_stays(self) -> None:
        world, who = await refused()
        accepted = condition(world, "Accepted")
        assert (accepted["status"], accepted["reason"]) == ("False", "TooManyTrials")
        assert accepted["observedGeneration"] == world.status["observedGeneration"] == 2
        assert world.status["state"] == "Running"
        assert world.status["live"] == {"00000": f"1/{who.uid}/"}
        assert "TooManyTrials" in world.told.reasons

    async def test_is_heard(self) -> None:
        world, who = await refused()
        world.clock.advance(2)
        session = await world.reports.session(who, SessionRequest("00000", 1))
        assert session.config
        await world.reports.results(who, ResultsRequest(1, (Result(1, {"accuracy": 0.5}),)))
        await world.look()
        assert world.run.durable.trials[0].seq == 1

    async def test_is_settled_and_nothing_starts_until_the_change_is_mended(self) -> None:
        world, who = await refused()
        world.server.change((PODS.plural, who.namespace, who.name), fail)
        world.see()
        world.clock.advance(100)
        await world.look(3)
        assert world.status["failures"] == 1
        assert not world.server.of(PODS)
        assert world.run.durable.generation == 1
        change(world, numSamples=4)
        await world.look(2)
        assert condition(world, "Accepted")["status"] == "True"
        assert world.run.durable.generation == 3
        assert world.status["counts"]["total"] == 4
        assert world.server.of(PODS)

    async def test_costs_no_second_validation_of_the_same_change(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, _ = await refused()
        asked: list[object] = []
        monkeypatch.setattr(gates, "parse", lambda *given: asked.append(given))
        await world.look(3)
        assert not asked


class TestDeletion:
    async def test_waits_for_the_grace_and_settles(self) -> None:
        world, who = await refused()
        run, place = world.run, (PODS.plural, who.namespace, who.name)
        world.server.delete(PLACE)
        world.told.reasons.clear()
        await world.look(2)
        pod = world.server.objects[place]
        assert pod["metadata"]["deletionTimestamp"]
        assert pod["metadata"]["finalizers"], "it may still save"
        assert PLACE in world.server.objects
        world.server.change(place, fail)
        world.see()
        await world.look(2)
        hear_it_go(world, pod)
        await world.look()
        assert PLACE not in world.server.objects
        assert world.told.reasons == ["ExperimentStopped"]
        (trial,) = run.durable.trials
        assert (trial.phase, trial.open, trial.failures) == (Phase.PENDING, False, 0)
        assert run.durable.released


async def restarted() -> tuple[World, PodIdentity]:
    """Another process meets the refused change and knows nothing of what was before it."""
    before, who = await refused()
    world = World(before.store)
    world.line.server = world.server = before.server
    world.see()
    await world.look(2)
    return world, who


class TestAfterARestart:
    async def test_the_journal_says_what_is_in_force(self) -> None:
        world, who = await restarted()
        accepted = condition(world, "Accepted")
        assert (accepted["status"], accepted["reason"]) == ("False", "TooManyTrials")
        assert world.status["state"] == "Running"
        await world.reports.results(who, ResultsRequest(1, (Result(1, {"accuracy": 0.5}),)))
        world.clock.advance(2)
        await world.look()
        assert world.run.durable.trials[0].seq == 1
        world.server.change((PODS.plural, who.namespace, who.name), fail)
        world.see()
        world.clock.advance(100)
        await world.look(3)
        assert world.status["failures"] == 1
        assert not world.server.of(PODS)
        assert (world.run.durable.generation, world.status["counts"]["total"]) == (1, 3)
        change(world, numSamples=4)
        await world.look(2)
        assert world.status["counts"]["total"] == 4
        assert world.server.of(PODS)

    async def test_a_deletion_settles_by_it(self) -> None:
        world, who = await restarted()
        run, place = world.run, (PODS.plural, who.namespace, who.name)
        world.server.delete(PLACE)
        await world.look(2)
        assert world.server.objects[place]["metadata"]["finalizers"], "it may still save"
        world.server.change(place, fail)
        world.see()
        await world.look(2)
        assert run.durable.released
        assert not run.durable.trials[0].failures

    async def test_a_run_that_is_over_is_not_opened_again(self) -> None:
        before = await ended()
        change(before, numSamples=TOO_MANY)
        shown = before.status
        world = World(MemoryStore())
        world.line.server = world.server = before.server
        await world.look(2)
        assert world.status == shown
        assert not await world.store.list("")

    async def test_the_object_says_where_it_lies_and_with_whose_keys(self) -> None:
        before, _ = await refused()
        before.server.change(PLACE, lambda obj: obj["spec"]["storage"].update(region="mars-1"))
        world = World(before.store)
        world.line.server = world.server = before.server
        world.see()
        await world.look()
        assert world.run.accepted is not None
        assert world.run.accepted.experiment.spec.storage.region == "mars-1"


class TestWithoutAnythingToGoOnBy:
    """A restart, a refused change, and a journal that cannot be opened."""

    async def lost(self) -> World:
        before, _ = await refused()
        away = Away()
        away.away = True
        world = World(away)
        world.line.server = world.server = before.server
        world.see()
        return world

    async def test_nothing_is_touched(self) -> None:
        world = await self.lost()
        await world.look(2)
        assert world.status["state"] == "Rejected"
        assert world.status["live"]
        (pod,) = world.server.of(PODS)
        assert "deletionTimestamp" not in pod["metadata"]

    async def test_what_is_somebody_elses_for_now_is_left_to_him(self) -> None:
        world = await self.lost()
        await world.look()
        world.gates.leave(world.run)
        world.server.delete(PLACE)
        await world.look()
        assert PLACE in world.server.objects
        (pod,) = world.server.of(PODS)
        assert pod["metadata"]["finalizers"]
        assert "deletionTimestamp" not in pod["metadata"]

    async def test_a_deletion_does_not_wait_and_says_what_it_leaves(self) -> None:
        world = await self.lost()
        world.server.delete(PLACE)
        await world.look()
        assert PLACE not in world.server.objects
        assert world.told.reasons == ["ExperimentCheckpointNotWritten"]


class Away(MemoryStore):
    """``away``: nothing can be written."""

    away = False

    async def put(self, key: str, data: bytes) -> None:
        if self.away:
            raise Unreachable("nobody answers")
        await super().put(key, data)

    async def close(self) -> None:
        """It is used again."""


class TestTheJournal:
    async def test_holds_what_was_in_force_and_not_what_was_refused(self) -> None:
        store = Away()
        world = World(store, numSamples=3)
        await world.start()
        store.away = True
        change(world, numSamples=4)
        await world.look()
        change(world, numSamples=TOO_MANY)
        await world.look()
        store.away = False
        world.clock.advance(100)
        await world.look(2)
        records = [
            record
            for key in await store.list(world.run.keys.journal())
            if not key.endswith("-00000000.jsonl")
            for record in unpack(key, await store.get(key))
            if record["type"] == "spec"
        ]
        assert [(each["generation"], each["spec"]["numSamples"]) for each in records] == [
            (1, 3),
            (2, 4),
        ]
