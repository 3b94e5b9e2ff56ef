"""The store goes away in the middle of a run: nobody starts, nobody pays, nothing is guessed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.journaled import read_journal
from tests.integration.lab import Lab
from tests.integration.link import Link, link_to
from tests.integration.pair import counters
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef


@asynccontextmanager
async def unsteady_store(lab: Lab) -> AsyncIterator[tuple[Link, dict[str, Any]]]:
    """A link to the store, and the storage section of an experiment that goes through it."""
    async with link_to(lab.bucket.endpoint) as (link, address):
        yield link, {**lab.manifest("any")["spec"]["storage"], "endpoint": f"http://{address}"}


async def test_a_trial_that_ends_during_an_outage_waits_for_the_store_and_then_resumes(
    lab: Lab,
) -> None:
    async with unsteady_store(lab) as (link, storage):
        await lab.apply("outage", storage=storage, numSamples=2, maxConcurrentTrials=1)
        first = await lab.player("outage", "00000", 1)
        await first.annotate({"tune.dev/exit-on-delete": "0"})
        await first.train(4)
        await first.save()
        await first.end(Outcome.INTERRUPTED)
        link.silence()
        await lab.evict(first.pod)
        assert "127.0.0.1" in await lab.condition("outage", "StorageAvailable", "False")
        row = await lab.trial("outage", "00000", lambda row: row["attempt"] == 1)
        assert row["state"] == "Running", "undecided: nobody knows how it ended"
        (pod,) = await lab.pods("outage")
        assert pod["metadata"]["finalizers"], "its exit code can still be read"
        link.restore()
        second = await lab.player("outage", "00000", 2)
        assert second.session is not None
        assert second.session.plan == (CheckpointRef(1, 4),)
        await lab.condition("outage", "StorageAvailable", "True")
        row = await lab.trial("outage", "00000", lambda row: row["attempt"] == 2)
        assert (row["disruptions"], row.get("failures", 0), row.get("infrastructure", 0)) == (
            1,
            0,
            0,
        )
        await lab.delete("outage")
        await lab.gone("outage")


async def test_trials_start_after_an_outage_train_through_another_and_pay_for_none(
    lab: Lab,
) -> None:
    """The operator dies in the middle of the second one, and finds the store still away."""
    async with unsteady_store(lab) as (link, storage):
        link.refuse()
        made = await lab.apply("weathered", storage=storage)
        await lab.condition("weathered", "StorageAvailable", "False")
        assert not await lab.pods("weathered")
        link.restore()
        player = await lab.player("weathered", "00000", 1)
        await player.train(2)
        await player.save()
        await lab.trial("weathered", "00000", lambda row: row.get("iteration") == 2)
        link.refuse()
        answer = await player.train(3)
        assert (answer.received, answer.durable) == (5, 2)
        await lab.condition("weathered", "StorageAvailable", "False")
        lab.operator.kill()
        tried = link.connections
        lab.operator.start()
        await lab.operator.ready()

        async def found_away() -> bool:
            return link.connections > tried

        await lab.until(found_away, "the new operator tries the store", "weathered")
        await lab.condition("weathered", "StorageAvailable", "False")
        (pod,) = await lab.pods("weathered")
        assert pod["metadata"]["uid"] == player.pod["metadata"]["uid"]
        link.restore()
        await player.train(5)
        await player.complete()
        await lab.condition("weathered", "Complete", "True")
        await lab.condition("weathered", "StorageAvailable", "True")
        journal = await read_journal(lab, made)
        assert journal.results("00000", 1) == [*range(1, 11)]
        row = await lab.trial("weathered", "00000", lambda row: row["state"] == "Terminated")
        assert (row["attempt"], counters(row)) == (1, (0, 0, 0))
        assert len(await lab.told("weathered", "StorageUnavailable")) <= 2, "one for each outage"


async def test_deleting_during_an_outage_leaves_nothing_behind(lab: Lab) -> None:
    async with unsteady_store(lab) as (link, storage):
        await lab.apply(
            "adrift", storage=storage, stopGracePeriodSeconds=11, trainer=None, template=hasty()
        )
        player = await lab.player("adrift", "00000", 1)
        await player.train(1)
        link.refuse()
        await lab.delete("adrift")
        await lab.condition("adrift", "Stopping", "True")
        link.restore()
        await lab.gone("adrift")


def hasty() -> dict[str, Any]:
    """A template whose Pods end at once."""
    container = {"name": "trainer", "image": "dev.local/played:1"}
    return {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
