"""Everything that takes a trial's Pod away, done for real: its row, its counter, its resumption.

Each time two trials run; what happens to one never touches the other.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.integration.fleet import Fleet
from tests.integration.lab import Lab
from tests.integration.pair import Ended, Pair
from tests.integration.player import Player
from tune_operator.kube.client import Kube
from tune_operator.kube.resources import PODS, Resource
from tune_trainer.protocol.exit_record import Outcome

EXIT = "tune.dev/exit-on-delete"
SLOT = "tests.tuneoperator.io/slot"
PRIORITY_CLASSES = Resource(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False
)

Cause = Callable[[Lab, Player], Awaitable[None]]


async def drained_and_saved(lab: Lab, victim: Player) -> None:
    await victim.annotate({EXIT: "0"})
    await victim.end(Outcome.INTERRUPTED)
    await lab.evict(victim.pod)


async def drained(lab: Lab, victim: Player) -> None:
    await lab.evict(victim.pod)


async def drained_out_of_memory(lab: Lab, victim: Player) -> None:
    """It needs more memory to save than to train."""
    await victim.annotate({EXIT: "137", "tune.dev/exit-reason": "OOMKilled"})
    await lab.evict(victim.pod)


async def deleted_and_saved(lab: Lab, victim: Player) -> None:
    await victim.annotate({EXIT: "0"})
    await victim.end(Outcome.INTERRUPTED)
    await lab.delete_pod(victim.pod)


async def deleted(lab: Lab, victim: Player) -> None:
    await lab.delete_pod(victim.pod)


async def force_deleted(lab: Lab, victim: Player) -> None:
    await lab.delete_pod(victim.pod, grace_seconds=0)


async def torn_out(lab: Lab, victim: Player) -> None:
    """Force-deleted by somebody who takes finalizers off first: the object is gone at once."""
    await victim.annotate({"tune.dev/hang": "true"})
    ops = [{"op": "remove", "path": "/metadata/finalizers"}]
    await lab.kube.json_patch(PODS, lab.namespace, victim.name, ops)
    await lab.delete_pod(victim.pod, grace_seconds=0)


async def taken_by_kueue(lab: Lab, victim: Player) -> None:
    """Kueue says why, then deletes."""
    await lab.mark(victim.pod, "TerminationTarget", "WorkloadEvictedDueToPreempted")
    await lab.delete_pod(victim.pod)


@pytest.mark.parametrize(
    ("cause", "ended"),
    [
        (drained_and_saved, Ended(8, "preempted", "EvictionByEvictionAPI", disruptions=1)),
        (drained, Ended(11, "preempted", "EvictionByEvictionAPI", disruptions=1)),
        (drained_out_of_memory, Ended(11, "preempted", "EvictionByEvictionAPI", disruptions=1)),
        (deleted_and_saved, Ended(8, "preempted", "Deleted", disruptions=1)),
        (deleted, Ended(16, "preempted", "Deleted", disruptions=1)),
        (force_deleted, Ended(16, "preempted", "Deleted", disruptions=1)),
        (torn_out, Ended(17, "lost", "PodGone", disruptions=1)),
        (taken_by_kueue, Ended(11, "preempted", "WorkloadEvictedDueToPreempted", disruptions=1)),
    ],
    ids=lambda value: value.__name__ if callable(value) else f"row {value.row}",
)
async def test_a_pod_that_is_taken_away_counts_one_disruption(
    lab: Lab, cause: Cause, ended: Ended
) -> None:
    pair = await Pair.start(lab, "taken")
    await cause(lab, pair.victim)
    await pair.resumed(ended)
    assert (await lab.get("taken"))["status"]["lostIterations"] == 1


async def test_a_taint_that_evicts_counts_one_disruption(lab: Lab, fleet: Fleet) -> None:
    nodes = await fleet.make("a", "b", "c")
    pair = await Pair.start(
        lab, "tainted", trainer=None, template=fleet.template(*nodes, apart="tainted")
    )
    await fleet.kubectl("taint", "node", pair.node, "tests.tuneoperator.io/leave=now:NoExecute")
    second = await pair.resumed(Ended(11, "preempted", "DeletionByTaintManager", disruptions=1))
    assert second.pod["spec"]["nodeName"] != pair.node


@asynccontextmanager
async def priority(kube: Kube, name: str) -> AsyncIterator[str]:
    body = {"metadata": {"name": name}, "value": 1000}
    made = await kube.create(PRIORITY_CLASSES, None, body)
    try:
        yield name
    finally:
        await kube.delete(PRIORITY_CLASSES, None, name, uid=made["metadata"]["uid"])


def needing_a_slot() -> dict[str, Any]:
    return {"resources": {"requests": {SLOT: "1"}, "limits": {SLOT: "1"}}}


async def test_preemption_by_the_scheduler_counts_one_disruption_and_the_trial_waits_for_room(
    lab: Lab, fleet: Fleet
) -> None:
    (node,) = await fleet.make("full")
    await fleet.provide(node, SLOT, 1)
    template = fleet.template(node, **needing_a_slot())
    await lab.apply("outranked", trainer=None, template=template)
    first = await lab.player("outranked", "00000", 1)
    await first.train(2)
    await first.save()
    async with priority(lab.kube, lab.namespace) as urgent:
        body = fleet.template(node, **needing_a_slot())
        body["metadata"] = {"name": "urgent", "namespace": lab.namespace}
        body["spec"]["priorityClassName"] = urgent
        rival = await lab.kube.create(PODS, lab.namespace, body)
        row = await lab.trial("outranked", "00000", lambda row: row["attempt"] == 2)
    Ended(11, "preempted", "PreemptionByScheduler", disruptions=1).check(row, 1)

    async def waits() -> bool:
        told = await lab.told("outranked", "TrialNotScheduled")
        return any("attempt 2 waits" in message for message in told)

    await lab.until(waits, "attempt 2 waits for room", "outranked")
    await lab.delete_pod(rival)
    second = await lab.player("outranked", "00000", 2)
    assert second.iteration == 2
    await lab.only("outranked", second.pod)
    row = await lab.trial("outranked", "00000", lambda row: row.get("node") == node)
    Ended(11, "preempted", "PreemptionByScheduler", disruptions=1).check(row, 1)
