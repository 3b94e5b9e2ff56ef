"""The store goes away in the middle of a run: nobody starts, nobody pays, nothing is guessed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.integration.lab import Lab
from tests.integration.link import Link
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef


@asynccontextmanager
async def unsteady_store(lab: Lab) -> AsyncIterator[tuple[Link, dict[str, Any]]]:
    """A link to the store, and the storage section of an experiment that goes through it."""
    address = urlsplit(lab.bucket.endpoint)
    assert address.hostname
    assert address.port
    link = Link(address.hostname, address.port)
    server = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield link, {**lab.manifest("any")["spec"]["storage"], "endpoint": endpoint}
    finally:
        server.close()
        await link.close()
        await server.wait_closed()


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


async def test_deleting_during_an_outage_leaves_nothing_behind(lab: Lab) -> None:
    async with unsteady_store(lab) as (link, storage):
        await lab.apply(
            "adrift", storage=storage, stopGracePeriodSeconds=11, trainer=None, template=hasty()
        )
        player = await lab.player("adrift", "00000", 1)
        await player.train(1)
        link.silence()
        await lab.delete("adrift")
        await lab.condition("adrift", "Stopping", "True")
        link.restore()
        await lab.gone("adrift")


def hasty() -> dict[str, Any]:
    """A template whose Pods end at once."""
    container = {"name": "trainer", "image": "dev.local/played:1"}
    return {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
