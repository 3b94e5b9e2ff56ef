"""Dry runs that nobody answers, as while an admission webhook is down: what runs is served."""

import pytest

from tests.model.cluster import ApiServer
from tests.unit.experiment.test_look import fail
from tests.unit.experiment.test_reconciler import change
from tests.unit.experiment.world import World
from tune_operator.kube.errors import (
    AlreadyExists,
    Cause,
    Forbidden,
    KubeError,
    TooManyRequests,
    Transient,
)
from tune_operator.kube.resources import PODS
from tune_operator.kube.transport import Object, Request
from tune_trainer.protocol.messages import ResultsRequest
from tune_trainer.protocol.result import Result

DOWN = Transient("failed calling webhook")
ENDING = Forbidden("being terminated", causes=(Cause("", "NamespaceTerminating", ""),))
LONGEST_PAUSE = 31.0


class Webhook(ApiServer):
    """``says`` what becomes of every dry run of a Pod; None: it is taken."""

    says: KubeError | None = DOWN

    def handle(self, request: Request, who: str) -> Object:
        """See ApiServer."""
        if self.says is not None and (request.query or {}).get("dryRun"):
            raise self.says
        return super().handle(request, who)


def guarded(world: World, server: ApiServer) -> Webhook:
    """From now on a webhook stands before the objects of this server."""
    webhook = Webhook(server.history, world.clock, server.objects, version=server.version)
    world.line.server = world.server = webhook
    return webhook


def dry_runs(world: World) -> int:
    return sum(sent.startswith("create pods") for sent in world.line.sent)


async def two_trials() -> tuple[World, Webhook]:
    """Both have a Pod that is bound and waits for a node; then the webhook is down."""
    world = World(numSamples=2, maxConcurrentTrials=2, failure={"maxFailures": 1})
    await world.look(3)
    world.see()
    await world.look()
    assert all(trial.pod_uid for trial in world.run.durable.trials)
    webhook = guarded(world, world.server)
    world.line.sent.clear()
    return world, webhook


class TestAfterARestart:
    async def test_what_runs_is_heard_and_settled_and_nothing_starts(self) -> None:
        before = World()
        who = await before.start()
        world = World(before.store)
        webhook = guarded(world, before.server)
        world.see()
        await world.look(2)
        await world.reports.results(who, ResultsRequest(1, (Result(1, {"accuracy": 0.5}),)))
        world.clock.advance(2)
        await world.look()
        assert world.run.durable.trials[0].seq == 1
        (pod,) = webhook.of(PODS)
        webhook.change((PODS.plural, who.namespace, who.name), fail)
        world.see()
        await world.look(3)
        assert world.status["failures"] == 1
        assert not webhook.of(PODS)
        webhook.says = None
        world.clock.advance(LONGEST_PAUSE)
        await world.look(2)
        (pod,) = webhook.of(PODS)
        assert pod["metadata"]["name"].endswith("-2")

    async def test_the_webhook_is_asked_ever_more_slowly(self) -> None:
        before = World()
        await before.start()
        world = World(before.store)
        guarded(world, before.server)
        world.see()
        for _ in range(100):
            await world.look()
            world.clock.advance(1)
        assert 4 <= dry_runs(world) <= 10

    async def test_an_api_server_that_is_busy_says_itself_when_to_come_back(self) -> None:
        before = World()
        await before.start()
        world = World(before.store)
        guarded(world, before.server).says = TooManyRequests("busy", retry_after=2.0)
        world.see()
        for _ in range(10):
            await world.look()
            world.clock.advance(1)
        assert dry_runs(world) == 5


class TestANewExperiment:
    async def test_waits_and_is_not_called_rejected(self) -> None:
        world = World()
        webhook = guarded(world, world.server)
        await world.look(2)
        assert world.status == {}
        webhook.says = None
        world.clock.advance(LONGEST_PAUSE)
        await world.look(3)
        assert world.status["state"] == "Running"
        assert len(webhook.of(PODS)) == 1


class TestADeletedPod:
    @pytest.mark.parametrize(
        ("answer", "disruptions"),
        [(None, 1), (ENDING, 0)],
        ids=["by a stranger", "with its namespace"],
    )
    async def test_is_judged_when_it_is_known_why_and_others_at_once(
        self, answer: KubeError | None, disruptions: int
    ) -> None:
        world, webhook = await two_trials()
        first, second = (("pods", "team-a", pod["metadata"]["name"]) for pod in webhook.of(PODS))
        webhook.delete(first)
        webhook.change(second, fail)
        world.see()
        await world.look(2)
        deleted, failed = world.run.durable.trials
        assert (deleted.open, deleted.disruptions, failed.failures) == (True, 0, 1)
        assert dry_runs(world) == 1
        webhook.says = answer
        world.clock.advance(LONGEST_PAUSE)
        await world.look(2)
        assert world.status["disruptions"] == disruptions
        assert not world.run.durable.trials[0].open or disruptions
        assert (world.run.namespace_ends is None) == (answer is None)

    async def test_that_was_suspended_needs_no_answer(self) -> None:
        world, _ = await two_trials()
        change(world, suspend=True)
        await world.look()
        world.see()
        await world.look(2)
        assert world.status["live"] == {}
        assert world.status["disruptions"] == 0


class TestATakenName:
    """Somebody has a Pod of the name that a dry run uses."""

    async def test_speaks_against_no_specification_and_tells_of_no_end(self) -> None:
        world = World()
        webhook = guarded(world, world.server)
        webhook.says = AlreadyExists("the name is taken")
        await world.look(3)
        world.see()
        (pod,) = webhook.of(PODS)
        webhook.delete(("pods", "team-a", pod["metadata"]["name"]))
        world.see()
        await world.look()
        assert world.status["disruptions"] == 1
