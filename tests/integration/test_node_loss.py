"""Nodes that fall silent, are written off, or vanish: nobody runs twice who could be heard.

All tests share one outage, whose slow parts are constants of Kubernetes and of the decision table:
12 s until a node is unreachable, 30 s until its Pods are overdue, 40-80 s until Pod GC ends those
of a node that is gone. Each test has an experiment of its own and waits for what it needs.
"""

import os
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.clusters import Bucket, Cluster
from tests.integration.fleet import Fleet, fleet_of
from tests.integration.lab import Lab
from tests.integration.operator_process import OperatorProcess
from tests.integration.pair import Ended, counters
from tests.integration.player import Player, Refused
from tune_operator.api.constants import LABEL_EXPERIMENT_UID
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import NotFound
from tune_operator.kube.resources import NAMESPACES
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SAVED = CheckpointRef(1, 2)
ROW = re.compile(r"\brow (\d+)\b")
STAY = [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}]
REFUSED = "tune_reports_refused_total"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(cluster: Cluster, minio: Bucket, operator: OperatorProcess) -> AsyncIterator[Lab]:
    """One namespace for all tests of this file."""
    kube = await Kube.connect()
    name = f"test-{os.getpid()}-node-loss"
    made = await kube.create(NAMESPACES, None, {"metadata": {"name": name}})
    await operator.ready()
    bench = Lab(kube, name, minio, operator)
    bench.patience = 100
    await bench.secret()
    try:
        yield bench
    finally:
        await kube.delete(NAMESPACES, None, name, uid=made["metadata"]["uid"])
        await kube.close()


class Outage:
    """``silent`` and ``off`` are not heard of, ``gone`` is deleted, ``spare`` is left."""

    def __init__(self, lab: Lab, fleet: Fleet) -> None:
        self.lab = lab
        self.fleet = fleet
        self.players: dict[str, Player] = {}
        self.silent = self.off = self.gone = self.spare = ""

    async def begin(self) -> None:
        """Run one experiment per test, lose the nodes, wait until Kubernetes says so."""
        names = await self.fleet.make("silent", "off", "gone", "spare")
        self.silent, self.off, self.gone, self.spare = names
        for name in ("fenced", "finished", "forced", "suspended", "reborn"):
            await self.run(name, self.silent)
        await self.run("patient", self.silent, tolerations=STAY)
        await self.run("waiting", self.silent, policy="Wait")
        await self.run("switched-off", self.off, policy="Wait")
        await self.run("vanished", self.gone)
        await self.run("orphaned", self.gone, policy="Wait")
        await self.players["orphaned"].annotate({"tune.dev/hang": "true"})
        await self.lab.delete_pod(self.players["orphaned"].pod)
        await self.fleet.delete(self.gone)
        await self.fleet.lose(self.silent)
        await self.fleet.lose(self.off)
        await self.fleet.until_ready(self.silent, "Unknown")
        await self.fleet.until_ready(self.off, "Unknown")

    async def run(self, name: str, node: str, policy: str = "Fence", **spec: Any) -> None:
        """One trial on the node: at iteration 3, with a checkpoint of iteration 2."""
        template = self.fleet.template(node, self.spare, first=node)
        template["spec"]["tolerations"] += spec.get("tolerations", [])
        lost = {"timeoutSeconds": 1, "policy": policy}
        await self.lab.apply(
            name,
            failure={"nodeLost": lost, "backoff": {"initialSeconds": 0}},
            stopGracePeriodSeconds=11,
            trainer=None,
            template=template,
        )
        player = self.players[name] = await self.lab.player(name, "00000", 1)
        assert player.pod["spec"]["nodeName"] == node
        await player.train(2)
        await player.save()
        await player.train(1)

    async def resumed(self, name: str, ended: Ended) -> Player:
        """Attempt 2, which goes on from the checkpoint; attempt 1 ended as expected."""
        second = await self.lab.player(name, "00000", 2)
        assert second.session is not None
        assert second.session.plan == (SAVED,)
        row = await self.lab.trial(name, "00000", lambda row: row["attempt"] == 2)
        ended.check(row, 1)
        return second

    async def pods(self, name: str) -> list[str]:
        """Their attempts."""
        return [pod["metadata"]["name"][-1] for pod in await self.lab.pods(name)]

    def rows(self, name: str) -> set[int]:
        """Rows of the table that the operator logged of the experiment's only trial."""
        lines = self.lab.operator.log.read_text().splitlines()
        mine = [line for line in lines if f"{self.lab.namespace}/{name}" in line]
        return {int(found[1]) for line in mine if (found := ROW.search(line))}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outage(lab: Lab, cluster: Cluster) -> AsyncIterator[Outage]:
    """The outage all tests of this file share."""
    async with fleet_of(lab.kube, cluster, lab.namespace) as fleet:
        happening = Outage(lab, fleet)
        await happening.begin()
        await lab.change("suspended", "suspend", value=True)
        await lab.delete("reborn")
        await lab.delete_pod(happening.players["forced"].pod, grace_seconds=0)
        await happening.players["finished"].end(Outcome.COMPLETED, reason="StoppedByCriteria")
        yield happening
        await fleet.find_all()  # what was deleted ends only on nodes that are there
        await lab.clear()


async def test_a_node_that_is_written_off_counts_one_disruption(lab: Lab, outage: Outage) -> None:
    """Policy Wait: nobody but Pod GC says that the Pod ended."""
    await outage.fleet.kubectl("taint", "node", outage.off, OUT_OF_SERVICE)
    second = await outage.resumed(
        "switched-off", Ended(11, "preempted", "DeletionByTaintManager", disruptions=1)
    )
    assert second.pod["spec"]["nodeName"] == outage.spare
    await lab.only("switched-off", second.pod)


async def test_a_node_whose_object_is_deleted_counts_one_disruption(
    lab: Lab, outage: Outage
) -> None:
    second = await outage.resumed(
        "vanished", Ended(11, "preempted", "DeletionByPodGC", disruptions=1)
    )
    assert second.pod["spec"]["nodeName"] == outage.spare
    await lab.only("vanished", second.pod)


async def test_an_overdue_pod_whose_node_is_gone_waits_for_pod_gc(lab: Lab, outage: Outage) -> None:
    ended = Ended(11, "preempted", "DeletionByPodGC", disruptions=1)
    second = await outage.resumed("orphaned", ended)
    assert 6 in outage.rows("orphaned")
    assert 7 not in outage.rows("orphaned")
    await lab.only("orphaned", second.pod)


async def test_a_zombie_is_fenced_and_changes_nothing_any_more(lab: Lab, outage: Outage) -> None:
    zombie = outage.players["fenced"]
    second = await outage.resumed("fenced", Ended(7, "lost", "NodeUnreachable", disruptions=1))
    assert second.pod["spec"]["nodeName"] == outage.spare
    assert await outage.pods("fenced") == ["1", "2"]

    before = await lab.operator.metric(REFUSED, reason="Outdated")
    for report in (zombie.train(1, score=0.99), zombie.save(), zombie.complete(score=0.99)):
        with pytest.raises(Refused, match="Outdated") as refused:
            await report
        assert refused.value.status == 401
    assert await lab.operator.metric(REFUSED, reason="Outdated") == before + 3
    # What it saved is in the store now, until retention comes by: `save` has seen to that.
    await zombie.end(Outcome.COMPLETED, reason="StoppedByCriteria", score=0.99)

    await second.train(3)
    saved = await second.save()
    await second.exit(1)
    third = await lab.player("fenced", "00000", 3)
    assert third.session is not None
    assert third.session.plan == (saved, SAVED)
    row = await lab.trial("fenced", "00000", lambda row: row["attempt"] == 3)
    Ended(16, "failed", "Error", failures=1, disruptions=1).check(row, 2)
    await third.train(5)
    await third.complete()
    await lab.condition("fenced", "Complete", "True")
    assert (await lab.get("fenced"))["status"]["best"]["objectiveValue"] == 0.5


async def test_a_pod_that_is_forced_off_a_silent_node_is_fenced_like_any_other(
    lab: Lab, outage: Outage
) -> None:
    """Our finalizer keeps the object: ``--force`` ends no process, so its attempt is not over."""
    second = await outage.resumed("forced", Ended(7, "lost", "NodeUnreachable", disruptions=1))
    assert not {16, 17} & outage.rows("forced")
    await lab.only("forced", second.pod)  # the object is let go


async def test_a_completion_before_the_fence_wins(lab: Lab, outage: Outage) -> None:
    await lab.condition("finished", "Complete", "True")
    (row,) = (await lab.get("finished"))["status"]["trials"]
    assert (row["state"], row["reason"]) == ("Terminated", "StoppedByCriteria")
    assert (row["attempt"], counters(row), row.get("lastInterruption")) == (1, (0, 0, 0), None)


async def test_a_suspended_trial_is_fenced_without_a_successor(lab: Lab, outage: Outage) -> None:
    await lab.condition("suspended", "Suspended", "True", "Suspended")
    status = (await lab.get("suspended"))["status"]
    (row,) = status["trials"]
    assert (row["state"], row["attempt"], counters(row)) == ("Pending", 1, (0, 0, 0))
    assert status["live"] == {}
    assert await outage.pods("suspended") == ["1"]
    await lab.change("suspended", "suspend", value=False)
    second = await lab.player("suspended", "00000", 2)
    assert second.session is not None
    assert second.session.plan == (SAVED,)
    assert second.pod["spec"]["nodeName"] == outage.spare


def started(pod: dict[str, Any], experiment_uid: str) -> bool:
    mine: bool = pod["metadata"]["labels"][LABEL_EXPERIMENT_UID] == experiment_uid
    return mine and bool(pod["status"].get("phase") == "Running")


async def test_an_experiment_made_anew_has_nothing_to_do_with_a_zombie_of_the_first(
    lab: Lab, outage: Outage
) -> None:
    zombie = outage.players["reborn"]

    async def gone() -> bool:
        try:
            await lab.get("reborn")
        except NotFound:
            return True
        return False

    await lab.until(gone, "the object goes although a Pod is out of reach", "reborn")
    template = outage.fleet.template(outage.spare)
    uid = (await lab.apply("reborn", trainer=None, template=template))["metadata"]["uid"]
    pod = await lab.pod("reborn", "00000", 1, lambda pod: started(pod, uid))
    first = Player(lab.kube, lab.bucket, pod)
    await first.start()
    assert first.session is not None
    assert first.session.plan == ()
    assert len(await lab.pods("reborn")) == 2
    await zombie.end(Outcome.COMPLETED, reason="StoppedByCriteria")
    await first.train(1)
    row = await lab.trial("reborn", "00000", lambda row: row.get("iteration") == 1)
    assert (row["attempt"], counters(row)) == (1, (0, 0, 0))


async def test_with_policy_wait_nothing_happens_while_the_node_is_away(
    lab: Lab, outage: Outage
) -> None:
    """Others, lost at the same moment, were fenced."""
    await lab.trial("fenced", "00000", lambda row: row["attempt"] > 1)
    (row,) = (await lab.get("waiting"))["status"]["trials"]
    assert (row["attempt"], counters(row), row.get("lastInterruption")) == (1, (0, 0, 0), None)
    assert await outage.pods("waiting") == ["1"]
    assert "unreachable" in await lab.event("waiting", "TerminationOverdue")
    assert 5 in outage.rows("waiting")


async def test_a_node_that_comes_back_ends_its_zombies_and_costs_the_patient_nothing(
    lab: Lab, outage: Outage
) -> None:
    """A Pod that was deleted meanwhile ends; one that tolerates the outage runs on."""
    await lab.trial("fenced", "00000", lambda row: row["attempt"] > 1)
    await outage.fleet.find(outage.silent)
    ended = Ended(11, "preempted", "DeletionByTaintManager", disruptions=1)
    second = await outage.resumed("waiting", ended)
    await lab.only("waiting", second.pod)

    async def released() -> bool:
        return "1" not in await outage.pods("fenced") + await outage.pods("suspended")

    await lab.until(released, "the zombies' Pods are gone", "fenced")
    await outage.players["patient"].train(1)
    row = await lab.trial("patient", "00000", lambda row: row.get("iteration") == 4)
    assert (row["attempt"], counters(row), row.get("lastInterruption")) == (1, (0, 0, 0), None)
    assert 22 in outage.rows("patient")
