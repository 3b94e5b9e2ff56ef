"""Pod garbage collection takes ended Pods before the operator could look at them.

The controller manager is restarted with a threshold of one ended Pod, and put back.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.clusters import Cluster
from tests.integration.lab import Lab
from tests.integration.pair import Ended, counters
from tests.integration.player import annotate
from tests.integration.test_cluster_nodes import tool
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef

AT_ONCE = {"initialSeconds": 0, "maxSeconds": 0}


@pytest.fixture
async def tiny_threshold(cluster: Cluster) -> AsyncIterator[None]:
    up = ("up", cluster, "--nodes", "kwok")
    try:
        await asyncio.to_thread(tool, *up, "--pod-gc-threshold", "1")
        yield
    finally:
        await asyncio.to_thread(tool, *up)


@pytest.mark.timeout(120)
async def test_ended_pods_that_were_collected_are_counted_once(
    lab: Lab, tiny_threshold: None
) -> None:
    """Whether a Pod failed before it was deleted or because of that, nobody asks."""
    lab.patience = 60
    changes = {"numSamples": 3, "maxConcurrentTrials": 3, "failure": {"backoff": AT_ONCE}}
    await lab.apply("collected", **changes)
    players = [await lab.player("collected", f"{number:05d}", 1) for number in range(3)]
    for player in players:
        await player.train(2)
        await player.save()
    lab.operator.kill()
    completed, failed, saved = players
    await completed.end(Outcome.COMPLETED, reason="StoppedByCriteria")
    await completed.exit(0)
    await failed.exit(1)
    await saved.end(Outcome.INTERRUPTED)
    await saved.exit(0)
    youngest = await lab.bare_pod("zz-youngest")  # the one that stays
    await annotate(lab.kube, youngest, {"tune.dev/exit-code": "0"})
    for player in players:
        await lab.pod("collected", player.trial, 1, lambda p: "deletionTimestamp" in p["metadata"])
    lab.operator.start()
    await lab.operator.ready()

    rows = {player.trial: await lab.trial("collected", player.trial, settled) for player in players}
    assert rows["00000"]["reason"] == "StoppedByCriteria"
    assert counters(rows["00000"]) == (0, 0, 0)
    Ended(16, "preempted", "Deleted", disruptions=1).check(rows["00001"], 1)
    Ended(8, "preempted", "Deleted", disruptions=1).check(rows["00002"], 1)
    again = [await lab.player("collected", trial, 2) for trial in ("00001", "00002")]
    for second in again:
        assert second.session is not None
        assert second.session.plan == (CheckpointRef(1, 2),)
    await lab.only("collected", *(second.pod for second in again))


def settled(row: dict[str, Any]) -> bool:
    return bool(row["state"] == "Terminated" or row["attempt"] == 2)
