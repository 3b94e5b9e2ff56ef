"""Carries out the script: each fault at its moment, on somebody it can decide about."""

from __future__ import annotations

import asyncio
import random
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos import faults
from tests.chaos.faults import Fault, NetworkFault, NodeFault, OperatorFault, Server, TrialFault
from tests.chaos.ledger import Ledger
from tests.chaos.nodes import Nodes
from tests.chaos.operators import Operators
from tests.chaos.pool import Pool
from tests.chaos.proxy import Proxy
from tests.chaos.script import Strike
from tests.chaos.trainer import CRASH, GRACEFUL, KILLED, SILENT, Ending, Phase, Trainer, persist
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, NotFound
from tune_operator.kube.resources import PODS, Resource
from tune_trainer.protocol.exit_record import Outcome

TARGET_SECONDS = 40.0
"""How long a fault waits for somebody it can strike."""

CALM_SECONDS = 70.0
"""How long a node's fault waits until it can decide about all Pods on the node."""

REPLACED_SECONDS = 150.0
NODES_LEFT = 4
UNREACHABLE_SECONDS = 16.0
READD_SECONDS = 8.0

ENDINGS: Mapping[TrialFault, Ending] = {
    faults.CRASHED: CRASH,
    faults.OUT_OF_MEMORY: Ending(137, reason="OOMKilled"),
    faults.RECORDED_FAILURE: Ending(1, Outcome.FAILED, "ValueError"),
    faults.LIAR: Ending(0),
    faults.UNUSABLE: Ending(75),
    faults.INTERRUPTED: Ending(0, Outcome.INTERRUPTED),
}
"""Faults of the trainer's own: nobody touches the Pod."""


@dataclass(frozen=True)
class Stage:
    """All that can be struck."""

    kube: Kube
    namespace: str
    pool: Pool
    nodes: Nodes
    operators: Operators
    apis: tuple[Proxy, Proxy]
    store: Proxy
    ledger: Ledger


class Injector:
    """Runs every strike as a task of its own: faults overlap."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._reserved: set[str] = set()
        self._by_server = asyncio.Lock()
        self._by_operator = asyncio.Lock()

    async def run(self, strikes: list[Strike]) -> None:
        """Until the last fault is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for strike in strikes:
                await asyncio.sleep(max(0.0, began + strike.at - time.monotonic()))
                group.create_task(self._strike(strike))

    async def _strike(self, strike: Strike) -> None:
        chance = random.Random(strike.seed)
        name = faults.title(strike.fault)
        try:
            # Once more if it found nobody: it may have come at a bad moment.
            done = await self._do(strike.fault, chance) or await self._do(strike.fault, chance)
        except Exception:  # noqa: BLE001 - a defect of ours: the run fails, and goes on
            self._stage.ledger.note(f"{name}: {traceback.format_exc()}")
            return
        (self._stage.ledger.struck if done else self._stage.ledger.skipped)[name] += 1

    async def _do(self, fault: Fault, chance: random.Random) -> bool:
        match fault:
            case TrialFault():
                return await self._on_trial(fault, chance)
            case NodeFault():
                return await self._on_node(fault, chance)
            case OperatorFault():
                async with self._by_operator:
                    return await self._on_operator(fault, chance)
            case (server, network):
                async with self._by_server:
                    await self._on_network(server, network, chance)
                    return True

    # Single trials

    async def _on_trial(self, fault: TrialFault, chance: random.Random) -> bool:
        trainer = await self._target(chance)
        if trainer is None:
            return False
        if fault in ENDINGS:
            trainer.doom(fault)
            trainer.end(ENDINGS[fault])
            return True
        pod = trainer.pod["metadata"]
        if fault is faults.LATE_EVICTION:
            trainer.on_complete(fault, lambda: self._evict(pod))
            return True
        saves = fault in (faults.EVICTED_SAVES, faults.DELETED_SAVES)
        trainer.doom(fault, GRACEFUL if saves else KILLED)
        if fault in (faults.EVICTED_SAVES, faults.EVICTED_KILLED):
            await self._evict(pod)
        elif fault is faults.VANISHED:
            trainer.end(SILENT)
            await self._vanish(pod)
        else:
            await self._delete(pod, 0 if fault is faults.FORCE_DELETED else None)
        return True

    async def _target(self, chance: random.Random) -> Trainer | None:
        give_up = time.monotonic() + TARGET_SECONDS
        while not (found := self._exposed()):
            if time.monotonic() > give_up:
                return None
            await asyncio.sleep(0.2)
        return chance.choice(found)

    def _busy(self) -> set[str]:
        """Nodes on which somebody trains."""
        return {trainer.entry.node for trainer in self._stage.pool.exposed()}

    def _exposed(self) -> list[Trainer]:
        """Not those whose node has a fault coming."""
        exposed = self._stage.pool.exposed()
        return [trainer for trainer in exposed if trainer.entry.node not in self._reserved]

    async def _evict(self, pod: Mapping[str, Any]) -> None:
        eviction = Resource("", "v1", f"pods/{pod['name']}/eviction", "Eviction")
        where = {"name": pod["name"], "namespace": pod["namespace"]}
        body = {"apiVersion": "policy/v1", "metadata": where}
        await self._gone_is_fine(lambda: self._stage.kube.create(eviction, pod["namespace"], body))

    async def _delete(self, pod: Mapping[str, Any], grace: int | None) -> None:
        kube = self._stage.kube
        where = (PODS, pod["namespace"], pod["name"])
        await self._gone_is_fine(lambda: kube.delete(*where, uid=pod["uid"], grace_seconds=grace))

    async def _vanish(self, pod: Mapping[str, Any]) -> None:
        """Somebody strips the finalizers and forces the deletion: not a trace is left."""
        await self._delete(pod, 0)
        ops = [
            {"op": "test", "path": "/metadata/uid", "value": pod["uid"]},
            {"op": "remove", "path": "/metadata/finalizers"},
        ]
        kube = self._stage.kube
        await self._gone_is_fine(lambda: kube.json_patch(PODS, pod["namespace"], pod["name"], ops))

    async def _gone_is_fine(self, act: Callable[[], Awaitable[object]]) -> None:
        try:
            await persist(act)
        except (NotFound, Conflict):
            return

    # Nodes

    async def _on_node(self, fault: NodeFault, chance: random.Random) -> bool:
        nodes = self._stage.nodes
        give_up = time.monotonic() + TARGET_SECONDS
        draw = chance.getrandbits(16)
        while (name := nodes.take(draw, NODES_LEFT, self._busy())) is None:
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(0.5)
        self._reserved.add(name)
        await nodes.cordon(name, on=True)
        try:
            match fault:
                case NodeFault.DELETED:
                    return await self._delete_node(name)
                case NodeFault.READDED:
                    await nodes.delete(name)
                    await asyncio.sleep(READD_SECONDS)
                    await nodes.add(name)
                    return True
                case NodeFault.LOST:
                    return await self._lose_node(name)
                case NodeFault.BLINKED:
                    await nodes.stop(name)
                    await asyncio.sleep(UNREACHABLE_SECONDS)
                    await nodes.start(name)
                    return True
                case NodeFault.TAINTED:
                    return await self._taint_node(name)
        finally:
            await nodes.cordon(name, on=False)
            self._reserved.discard(name)
            nodes.give_back(name)

    async def _delete_node(self, name: str) -> bool:
        victims = await self._doom_all(name, faults.ON_DELETED_NODE, KILLED)
        if victims is None:
            return False
        for trainer in victims:
            trainer.outlive()
            trainer.end(SILENT)
        await self._stage.nodes.delete(name)
        await self._until_gone(victims)
        await self._stage.nodes.add(name)
        return True

    async def _lose_node(self, name: str) -> bool:
        victims = await self._doom_all(name, faults.ON_LOST_NODE, KILLED)
        if victims is None:
            return False
        for trainer in victims:
            trainer.outlive()
        await self._stage.nodes.stop(name)
        # Their Pods stay as they are: only a refusal tells that they were replaced, and what they
        # forge then is worth most while their node is away.
        await self._until(lambda: all(each.entry.forged for each in victims))
        await self._stage.nodes.start(name)
        for trainer in victims:
            trainer.end(KILLED)
        await self._until_gone(victims)
        return True

    async def _taint_node(self, name: str) -> bool:
        victims = await self._doom_all(name, faults.ON_TAINTED_NODE, GRACEFUL)
        if victims is None:
            return False
        await self._stage.nodes.taint(name, on=True)
        await self._until_gone(victims)
        await self._stage.nodes.taint(name, on=False)
        return True

    async def _doom_all(
        self, node: str, fault: TrialFault, when_deleted: Ending
    ) -> list[Trainer] | None:
        """All attempts on the cordoned node, once nobody is there whose end is open.

        None if there is nobody, or if it takes too long: then they are evicted instead.
        """
        doomed: dict[str, Trainer] = {}
        give_up = time.monotonic() + CALM_SECONDS
        while time.monotonic() < give_up:
            await asyncio.sleep(1.5)
            there = await self._stage.nodes.pods(node, self._stage.namespace)
            for pod in there:
                trainer = self._stage.pool.trainers.get(pod["metadata"]["uid"])
                if trainer is not None and trainer.phase is Phase.TRAINING:
                    trainer.doom(fault, when_deleted)
                    doomed[trainer.entry.uid] = trainer
            if {pod["metadata"]["uid"] for pod in there} == doomed.keys():
                return list(doomed.values()) or None
        for trainer in doomed.values():
            await self._evict(trainer.pod["metadata"])
        return None

    async def _until_gone(self, victims: list[Trainer]) -> None:
        pods = self._stage.pool.pods
        await self._until(lambda: not any(each.entry.uid in pods for each in victims))

    async def _until(self, true: Callable[[], bool]) -> None:
        give_up = time.monotonic() + REPLACED_SECONDS
        while not true():
            if time.monotonic() > give_up:
                return
            await asyncio.sleep(0.5)

    # Operators

    async def _on_operator(self, fault: OperatorFault, chance: random.Random) -> bool:
        operators = self._stage.operators
        give_up = time.monotonic() + TARGET_SECONDS
        while (leader := operators.target) is None or (standby := operators.standby) is None:
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(0.2)
        match fault:
            case OperatorFault.KILL_LEADER:
                leader.send(signal.SIGKILL)
            case OperatorFault.KILL_STANDBY:
                standby.send(signal.SIGKILL)
            case OperatorFault.STOP_LEADER:
                leader.send(signal.SIGTERM)
            case OperatorFault.FREEZE_LEADER:
                leader.freeze()
                operators.leader = None
                # It wakes when its successor is at work.
                await self._until(lambda: operators.leader is not None)
                await asyncio.sleep(chance.uniform(0.5, 3))
                leader.thaw()
        await self._until(lambda: operators.target is not None)
        return True

    # Networks

    async def _on_network(
        self, server: Server, network: NetworkFault, chance: random.Random
    ) -> None:
        """In front of the store; in front of the API server as one operator sees it, or both."""
        apis = chance.choice([(self._stage.apis[0],), (self._stage.apis[1],), self._stage.apis])
        proxies = (self._stage.store,) if server is Server.STORE else apis
        seconds = chance.uniform(3, 9)
        async with _restored(proxies):
            for proxy in proxies:
                match network:
                    case NetworkFault.ERRORS:
                        proxy.err()
                    case NetworkFault.OUTAGE:
                        proxy.refuse()
                    case NetworkFault.SILENCE:
                        proxy.silence()
                    case NetworkFault.CUT:
                        proxy.cut()
                        seconds = 0.0
            await asyncio.sleep(seconds)


@asynccontextmanager
async def _restored(proxies: tuple[Proxy, ...]) -> Any:
    try:
        yield
    finally:
        for proxy in proxies:
            proxy.restore()
