"""Leader election on a real Lease: hand-over, expiry, a hung network, and the leader's label."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.integration.link import account_ready, attempt_pod, linked
from tests.polling import eventually
from tune_operator.api.constants import LABEL_LEADER
from tune_operator.kube.client import Kube
from tune_operator.kube.leader import LeaderElection, LeadershipLost, mark_leader_pod
from tune_operator.kube.resources import LEASES, PODS
from tune_operator.runtime.clock import SystemClock

LEASE = "tune-operator"
PATIENCE = 20


def candidate(
    kube: Kube, namespace: str, identity: str, *, lease_seconds: int = 3
) -> LeaderElection:
    """Like the operator's, some times faster."""
    return LeaderElection(
        kube,
        namespace,
        LEASE,
        identity,
        SystemClock(),
        lease_seconds=lease_seconds,
        renew_seconds=1.5,
        retry_seconds=0.2,
    )


async def spec(kube: Kube, namespace: str) -> dict[str, Any]:
    lease = await kube.get(LEASES, namespace, LEASE)
    found: dict[str, Any] = lease["spec"]
    return found


async def within(seconds: float, awaitable: Awaitable[Any]) -> float:
    """How long it took."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(seconds):
        await awaitable
    return asyncio.get_running_loop().time() - began


async def test_first_one_makes_the_lease(kube: Kube, namespace: str) -> None:
    await within(PATIENCE, candidate(kube, namespace, "a").acquire())
    made = await spec(kube, namespace)
    assert made["holderIdentity"] == "a"
    assert made["leaseDurationSeconds"] == 3
    assert made["leaseTransitions"] == 0
    assert made["renewTime"].endswith("Z")
    assert len(made["renewTime"]) == len("2026-11-21T04:05:06.000789Z")


async def test_released_lease_is_taken_at_once(kube: Kube, namespace: str) -> None:
    """Long before the time that it was taken for is over."""
    first, second = (candidate(kube, namespace, who, lease_seconds=3 * PATIENCE) for who in "ab")
    await first.acquire()
    await first.release()
    released = await spec(kube, namespace)
    assert released.get("holderIdentity", "") == ""
    await within(PATIENCE, second.acquire())
    taken = await spec(kube, namespace)
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("b", 1)


async def test_dead_leader_is_replaced_when_its_lease_ran_out(kube: Kube, namespace: str) -> None:
    await candidate(kube, namespace, "dead").acquire()
    assert await within(PATIENCE, candidate(kube, namespace, "b").acquire()) > 2.5
    assert (await spec(kube, namespace))["holderIdentity"] == "b"


async def test_live_leader_is_not_replaced(kube: Kube, namespace: str) -> None:
    leader, other = candidate(kube, namespace, "a"), candidate(kube, namespace, "b")
    await leader.acquire()
    holding = asyncio.ensure_future(leader.hold())
    with pytest.raises(TimeoutError):
        await within(5.0, other.acquire())
    assert not holding.done()
    before = await spec(kube, namespace)
    assert (before["holderIdentity"], before["leaseTransitions"]) == ("a", 0)
    assert before["renewTime"] > before["acquireTime"]
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await other.release()
    assert (await spec(kube, namespace))["holderIdentity"] == "a"


async def test_leader_cut_off_gives_up_before_another_may_lead(kube: Kube, namespace: str) -> None:
    async with linked() as (link, over_link):
        leader, other = candidate(over_link, namespace, "a"), candidate(kube, namespace, "b")
        await leader.acquire()
        holding = asyncio.ensure_future(leader.hold())
        waiting = asyncio.ensure_future(other.acquire())
        link.silence()
        with pytest.raises(LeadershipLost, match="not renewed"):
            await within(PATIENCE, holding)
        assert not waiting.done()
        await within(PATIENCE, waiting)


async def test_short_silence_costs_nothing(kube: Kube, namespace: str) -> None:
    async with linked() as (link, over_link):
        leader = candidate(over_link, namespace, "a")
        await leader.acquire()
        before = (await spec(kube, namespace))["renewTime"]
        holding = asyncio.ensure_future(leader.hold())
        link.silence()
        connections = link.connections

        async def tried_again() -> bool:
            return link.connections > connections

        async def renewed() -> bool:
            return bool((await spec(kube, namespace))["renewTime"] > before)

        async def explain() -> str:
            return f"leader: {holding}"

        await eventually(tried_again, "the hung renewal was given up", PATIENCE, explain)
        link.restore()
        await eventually(renewed, "the Lease was renewed", PATIENCE, explain)
        assert not holding.done()
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def test_usurped_leader_notices(kube: Kube, namespace: str) -> None:
    leader = candidate(kube, namespace, "a")
    await leader.acquire()
    lease = await kube.get(LEASES, namespace, LEASE)
    await kube.replace(LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": "b"}})
    with pytest.raises(LeadershipLost, match="held by b"):
        await within(PATIENCE, leader.hold())
    await leader.release()
    assert (await spec(kube, namespace))["holderIdentity"] == "b"


async def test_of_many_candidates_one_leads_at_a_time(kube: Kube, namespace: str) -> None:
    leading: list[str] = []
    history: list[str] = []

    async def run(identity: str) -> None:
        election = candidate(kube, namespace, identity)
        await election.acquire()
        leading.append(identity)
        assert (await spec(kube, namespace))["holderIdentity"] == identity
        assert leading == [identity]
        history.append(identity)
        leading.remove(identity)
        await election.release()

    await within(PATIENCE, asyncio.gather(*[run(f"c{number}") for number in range(5)]))
    assert sorted(history) == [f"c{number}" for number in range(5)]
    assert (await spec(kube, namespace))["leaseTransitions"] == 4


async def test_label_moves_to_the_leaders_pod(kube: Kube, namespace: str) -> None:
    await account_ready(kube, namespace)
    marked = {"app": "tune-operator", LABEL_LEADER: "true"}
    for name, labels in (("old", marked), ("new", {"app": "tune-operator"}), ("bare", {})):
        await kube.create(PODS, namespace, attempt_pod(namespace, name, labels))
    for leader in ("new", "bare", "bare"):
        await mark_leader_pod(kube, namespace, leader)
        found, _ = await kube.list(PODS, namespace, label_selector=f"{LABEL_LEADER}=true")
        assert [pod["metadata"]["name"] for pod in found] == [leader]
    old = await kube.get(PODS, namespace, "old")
    assert old["metadata"]["labels"] == {"app": "tune-operator"}
