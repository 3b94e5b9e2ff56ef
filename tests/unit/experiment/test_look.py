"""What a look reads before anything is decided: live where it matters, and little in an outage."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.unit.experiment.world import PLACE, World
from tune_operator.api import constants
from tune_operator.experiment.look import record_results
from tune_operator.kube.errors import Transient
from tune_operator.kube.resources import NODES, PODS
from tune_operator.kube.transport import Object
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.trial_state import StopIntent
from tune_operator.store.errors import Unreachable
from tune_operator.store.memory import MemoryStore
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.messages import BODY_LIMIT, ResultsRequest
from tune_trainer.protocol.result import Result


def intent(world: World) -> StopIntent:
    return world.run.durable.trials[0].stop_intent


def scheduled(pod: Object, at: datetime) -> None:
    """It has a node and its trainer does not run yet."""
    pod["spec"]["nodeName"] = "node-1"
    condition = {"type": "PodScheduled", "status": "True"}
    pod["status"] = {
        "phase": "Pending",
        "conditions": [{**condition, "lastTransitionTime": instants.render(at)}],
    }


class TestGivingUp:
    """Rows 20 and 23 after an outage of the API server: the view of a Pod is as old as that."""

    async def waiting(self) -> World:
        world = World()
        await world.look(3)
        place = next(place for place in world.server.objects if place[0] == PODS.plural)
        world.server.change(place, lambda pod: scheduled(pod, world.clock.now()))
        world.see()
        await world.look()
        return world

    async def test_a_trainer_that_started_unseen_is_not_taken_for_one_that_did_not(self) -> None:
        world = await self.waiting()
        place = next(place for place in world.server.objects if place[0] == PODS.plural)
        running = {"name": "trainer", "state": {"running": {"startedAt": "2026-03-01T12:00:10Z"}}}
        world.server.change(
            place, lambda pod: pod["status"].update(containerStatuses=[running], phase="Running")
        )
        world.clock.advance(601)
        await world.look()
        assert intent(world) is StopIntent.NONE

    async def test_nothing_is_given_up_while_nobody_answers(self) -> None:
        world = await self.waiting()
        world.clock.advance(601)
        world.line.down = True
        with pytest.raises(Transient):
            await world.look()
        assert intent(world) is StopIntent.NONE

    async def test_one_that_did_not_start_is_given_up(self) -> None:
        world = await self.waiting()
        world.clock.advance(601)
        await world.look()
        assert intent(world) is StopIntent.START_ERROR

    async def test_a_pod_is_read_live_only_when_it_would_be_given_up(self) -> None:
        world = await self.waiting()
        world.line.sent.clear()
        await world.look(3)
        assert world.line.sent == []


class TestHearing:
    """Row 23: who could not be heard is not taken for silent."""

    async def silent(self) -> World:
        world = World(failure={"progressDeadlineSeconds": 60})
        who = await world.start()
        await world.reports.results(who, ResultsRequest(1, (Result(1, {"accuracy": 0.5}),)))
        await world.look()
        world.clock.advance(300)
        return world

    async def test_a_trainer_that_reports_nothing_hangs(self) -> None:
        world = await self.silent()
        await world.look()
        assert intent(world) is StopIntent.HUNG

    async def test_an_api_server_that_could_vouch_for_nobody_hears_from_its_end_on(self) -> None:
        world = await self.silent()
        last = world.clock.now() - timedelta(seconds=10)
        world.reconciler.looker = replace(world.looker, unheard=lambda: last)
        await world.look()
        assert intent(world) is StopIntent.NONE
        world.clock.advance(51)
        await world.look()
        assert intent(world) is StopIntent.HUNG

    async def test_a_journal_that_could_not_be_opened_hears_from_then_on(self) -> None:
        world = await self.silent()
        world.gates.leave(world.run)
        world.run.heard.clear()
        world.clock.advance(20)
        await world.look()
        assert intent(world) is StopIntent.NONE
        world.clock.advance(61)
        await world.look()
        assert intent(world) is StopIntent.HUNG


class TestWithoutItsLabel:
    """Anybody may take our label off a Pod; the watch then tells that it is gone."""

    async def test_a_bound_pod_is_not_lost_and_is_let_go_when_it_ends(self) -> None:
        world = World()
        who = await world.start()
        place = next(place for place in world.server.objects if place[0] == PODS.plural)
        stripped = world.server.change(
            place, lambda pod: pod["metadata"]["labels"].pop(constants.LABEL_EXPERIMENT_UID)
        )
        view = world.pods._scope("team-a")
        assert view is not None
        world.pods._hear(view, "DELETED", stripped)
        await world.look(2)
        assert world.status["live"] == {"00000": f"1/{who.uid}/"}
        world.server.change(place, fail)
        await world.look()
        assert world.status["failures"] == 1
        assert world.server.by_uid(who.uid) is None


class TestOverdue:
    """A Pod that outlives its grace, and reports of others that make us look many times."""

    async def overdue(self, ready: str) -> World:
        world = World()
        await world.start()
        place = next(place for place in world.server.objects if place[0] == PODS.plural)
        world.server.delete(place)
        world.see()
        world.clock.advance(600)
        kind = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-03-01T12:09:50Z"}
        body = {"metadata": {"name": "node-1"}, "status": {"conditions": [kind]}}
        record = world.server.make(NODES, body)
        # As the watch tells it.
        world.nodes._informer.observe(
            {**record, "metadata": {**record["metadata"], "namespace": ""}}
        )
        world.line.sent.clear()
        return world

    @pytest.mark.parametrize("ready", ["True", "Unknown"])
    async def test_a_node_that_is_watched_is_not_asked_while_nothing_hangs_on_it(
        self, ready: str
    ) -> None:
        world = await self.overdue(ready)
        await world.look(3)
        assert not [sent for sent in world.line.sent if "nodes" in sent]

    async def test_it_is_asked_before_its_pod_is_fenced(self) -> None:
        world = await self.overdue("Unknown")
        world.clock.advance(60)
        await world.look()
        assert [sent for sent in world.line.sent if "nodes" in sent] == ["get nodes node-1"]
        assert world.status["disruptions"] == 1


class Counting(MemoryStore):
    """Counts who waits for an answer at once; ``away``: there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked = self.at_once = self.most = 0

    async def get(self, key: str) -> bytes:
        if "/x/" not in key:
            return await super().get(key)
        self.asked += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        for _ in range(3):
            await asyncio.sleep(0)
        self.at_once -= 1
        if self.away:
            raise Unreachable("nobody answers")
        return await super().get(key)


class TestManyEndings:
    """A node pool goes and hundreds of attempts end together."""

    async def ended(self) -> tuple[World, Counting]:
        store = Counting()
        world = World(store, numSamples=40, maxConcurrentTrials=40)
        await world.look(3)
        for place in [place for place in world.server.objects if place[0] == PODS.plural]:
            world.server.change(place, fail)
        world.see()
        return world, store

    async def test_few_are_read_at_once_since_waiting_for_a_thread_is_no_answer(self) -> None:
        world, store = await self.ended()
        await world.look()
        assert world.status["failures"] == 40
        assert store.most <= 4

    async def test_a_store_that_is_away_is_not_asked_for_each(self) -> None:
        world, store = await self.ended()
        store.away = True
        await world.look()
        assert world.status["failures"] == 0
        assert store.asked <= 4


def fail(pod: Object) -> None:
    """Its trainer exited 1."""
    ended = {"exitCode": 1, "startedAt": "2026-03-01T12:00:00Z"}
    pod["spec"]["nodeName"] = "node-1"
    pod["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}],
    }


class TestRecovered:
    def test_a_result_that_no_report_could_have_brought_is_left_out(self) -> None:
        huge = Result(1, {"training_iteration": 1, "text": "x" * BODY_LIMIT})
        small = Result(2, {"training_iteration": 2})
        found = ExitRecord(
            "digits", "00000", 1, Outcome.FAILED, "X", "", 2, "", results=(huge, small)
        )
        assert record_results(found, 0) == (small,)


class TestIdle:
    async def test_a_running_experiment_asks_nobody_for_anything(self) -> None:
        world = World()
        await world.start()
        await world.look()
        version = world.server.objects[PLACE]["metadata"]["resourceVersion"]
        world.line.sent.clear()
        world.clock.advance(180)
        await world.look(3)
        assert world.line.sent == []
        assert world.server.objects[PLACE]["metadata"]["resourceVersion"] == version
