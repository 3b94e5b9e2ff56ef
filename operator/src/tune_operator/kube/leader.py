"""Leader election by Lease, and the label that leads trainers to the leader.

The Lease only avoids wasted work: claims and conditional writes keep two operators from doing
harm. So the rule is simple: who cannot prove in time that it still holds the Lease, ends.
"""

import asyncio
import logging

from tune_operator.api.constants import LABEL_LEADER
from tune_operator.kube import lease as leases
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import AlreadyExists, Conflict, Invalid, KubeError, NotFound
from tune_operator.kube.lease import Observed
from tune_operator.kube.resources import LEASES, PODS
from tune_operator.kube.transport import Object
from tune_operator.runtime.clock import Clock
from tune_operator.runtime.supervisor import Foreseen

logger = logging.getLogger(__name__)


class LeadershipLost(Foreseen):
    """Somebody else holds the Lease, or it could not be renewed in time: end the process."""


class LeaderElection:
    """Acquires one Lease, holds it, releases it.

    identity: unique per process, never reused. lease_seconds: how long others wait for a holder
    that is silent. renew_seconds: how long a holder tries to renew before it gives up; less than
    lease_seconds, or two may lead. retry_seconds: the pause between two tries.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        lease_seconds: float = 15,
        renew_seconds: float = 10,
        retry_seconds: float = 2,
    ) -> None:
        if not retry_seconds < renew_seconds < lease_seconds:
            raise ValueError("retry_seconds < renew_seconds < lease_seconds does not hold")
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._lease_seconds = max(1, round(lease_seconds))  # whole seconds in the record
        self._renew_seconds = renew_seconds
        self._retry_seconds = retry_seconds
        self._observed: Observed | None = None
        self._renewed: float | None = None  # when the write began that made or kept us the holder

    async def acquire(self) -> None:
        """Wait until the Lease is ours. Errors of the API server are logged and waited out."""
        logger.info("waiting for Lease %s/%s", self._namespace, self._name)
        while not await self._attempt(self._renew_seconds):
            await self._clock.sleep(self._retry_seconds)
        logger.info("leading as %s", self._identity)

    async def hold(self) -> None:
        """Renew for ever. Raises LeadershipLost."""
        while True:
            await self._clock.sleep(self._retry_seconds)
            left = self._left()
            if left <= 0 or not await self._attempt(left):
                holder = self._observed.holder if self._observed else ""
                if holder != self._identity:
                    raise LeadershipLost(f"the Lease is held by {holder or 'nobody'} now")
                if self._left() <= 0:
                    raise LeadershipLost(f"not renewed for {self._renew_seconds} s")

    async def release(self) -> None:
        """Give the Lease back if we hold it, so that the next leader need not wait it out."""
        if self._observed is None:
            return  # never got as far as asking for it
        try:
            async with asyncio.timeout(self._renew_seconds):
                live = await self._kube.get(LEASES, self._namespace, self._name)
                if live["spec"].get("holderIdentity") == self._identity:
                    await self._kube.replace(LEASES, leases.released(live, self._clock.now()))
        except (KubeError, TimeoutError) as error:
            logger.warning("Lease not released, the next leader has to wait: %s", error)

    def _left(self) -> float:
        """Seconds until holding on is no longer safe."""
        if self._renewed is None:
            return 0.0
        return self._renewed + self._renew_seconds - self._clock.monotonic()

    async def _attempt(self, seconds: float) -> bool:
        """Take or renew the Lease, whatever hangs, within `seconds`; whether it is ours."""
        # Before the request: others count from when they see the write, which is later.
        began = self._clock.monotonic()
        try:
            # Half: one dead connection must not use up all the time there is.
            async with asyncio.timeout(min(seconds, self._renew_seconds / 2)):
                written = await self._write()
        except TimeoutError:
            logger.warning("Lease %s: no answer in time", self._name)
            return False
        except (Conflict, AlreadyExists):
            return False  # somebody was faster: look again
        except KubeError as error:
            logger.warning("%s", error)
            return False
        if written is None:
            return False
        self._observed = Observed.of(written, self._observed, began)
        self._renewed = began
        return True

    async def _write(self) -> Object | None:
        """The Lease as written; None while another process holds it."""
        now = self._clock.now()
        try:
            live = await self._kube.get(LEASES, self._namespace, self._name)
        except NotFound:
            body = leases.first(
                self._namespace, self._name, self._identity, self._lease_seconds, now
            )
            return await self._kube.create(LEASES, self._namespace, body)
        self._observed = Observed.of(live, self._observed, self._clock.monotonic())
        if not self._observed.free_for(self._identity, self._clock.monotonic()):
            return None
        return await self._kube.replace(
            LEASES, leases.taken(live, self._identity, self._lease_seconds, now)
        )


async def mark_leader_pod(kube: Kube, namespace: str, pod_name: str) -> None:
    """Label our own Pod as the leader and take the label off all others: the Service selects it.

    Others first, so that no trainer is sent to an operator that no longer leads. Raises KubeError.
    """
    path = "/metadata/labels/" + LABEL_LEADER.replace("~", "~0").replace("/", "~1")
    marked, _ = await kube.list(PODS, namespace, label_selector=LABEL_LEADER)
    for pod in marked:
        meta = pod["metadata"]
        if meta["name"] == pod_name:
            continue
        unmark: list[Object] = [
            {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
            {"op": "remove", "path": path},
        ]
        try:
            await kube.json_patch(PODS, namespace, meta["name"], unmark)
        except (NotFound, Invalid):
            logger.info("Pod %s lost its leader label meanwhile", meta["name"])
    own = await kube.get(PODS, namespace, pod_name)
    mark: list[Object] = [{"op": "test", "path": "/metadata/uid", "value": own["metadata"]["uid"]}]
    if not own["metadata"].get("labels"):
        mark.append({"op": "add", "path": "/metadata/labels", "value": {}})
    mark.append({"op": "add", "path": path, "value": "true"})
    await kube.json_patch(PODS, namespace, pod_name, mark)
