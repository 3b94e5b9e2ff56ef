"""A cluster's addresses, ports and store keys: chosen once, kept in plan.json.

A kwok cluster lives on 127.0.0.1 with ports of its own. A real one has a network namespace of
its own, so its ports are the usual ones and its addresses follow from a slot number.
"""

import json
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from . import ports
from .errors import ClusterError, Missing
from .locks import locked
from .paths import ClusterPaths, write_atomically

FLAVOURS = ("kwok", "real")
PORT_NAMES = (
    "apiserver",
    "etcd",
    "etcd-peer",
    "controller-manager",
    "scheduler",
    "kwok",
    "minio",
)
USUAL_PORTS = {
    "apiserver": 6443,
    "etcd": 2379,
    "etcd-peer": 2380,
    "controller-manager": 10257,
    "scheduler": 10259,
    "kwok": 10247,
    "minio": 9000,
}
SLOTS = range(256)
# Nothing outside the host ever sees the services of a kwok cluster, so all may use the same.
KWOK_SERVICES = "10.96.0.0/16"


@dataclass(frozen=True)
class Plan:
    """What was chosen for one cluster; everything else is derived from it."""

    name: str
    flavour: str
    ports: dict[str, int]
    minio_user: str
    minio_password: str
    slot: int | None = None

    @classmethod
    def read(cls, paths: ClusterPaths) -> "Plan | None":
        """The plan of an existing cluster, or None."""
        try:
            plan = cls(**json.loads(paths.plan.read_text()))
        except FileNotFoundError:
            return None
        # A cluster that is older than one of its servers.
        return replace(plan, ports={**USUAL_PORTS, **plan.ports}) if plan.real else plan

    @property
    def real(self) -> bool:
        return self.slot is not None

    def _subnet(self, second: int) -> str:
        return f"10.{second}.{self.slot}"

    @property
    def host(self) -> str:
        """Where the servers listen, as the host sees it; for real nodes also the node's address."""
        return f"{self._subnet(210)}.2" if self.real else "127.0.0.1"

    @property
    def gateway(self) -> str:
        """The host's own address as Pods of a real cluster see it."""
        return f"{self._subnet(210)}.1"

    @property
    def pods(self) -> str:
        return f"{self._subnet(211)}.0/24"

    @property
    def services(self) -> str:
        return f"{self._subnet(212)}.0/24" if self.real else KWOK_SERVICES

    @property
    def dns(self) -> str:
        return f"{self._subnet(212)}.10"

    @property
    def networks(self) -> list[IPv4Network]:
        """All networks a real cluster claims on this host."""
        if not self.real:
            return []
        return [
            IPv4Network(f"{self.host}/30", strict=False),
            *map(IPv4Network, (self.pods, self.services)),
        ]

    @property
    def namespace(self) -> str:
        """The network namespace (real nodes), also the cgroup and the CNI network."""
        return f"tune-{self.name}"

    @property
    def apiserver(self) -> str:
        return f"https://{self.host}:{self.ports['apiserver']}"

    @property
    def minio(self) -> str:
        return f"http://{self.host}:{self.ports['minio']}"


def ensure(paths: ClusterPaths, flavour: str, running: Collection[str]) -> Plan:
    """The stored plan, or a new one that collides with no other cluster and no server.

    A cluster of which nothing in `running` is alive gets new ports if others took its old ones.

    Raises:
        Missing: a cluster of this name exists in the other flavour.
        ClusterError: no free ports or networks are left.
    """
    with locked(paths.root.parent / ".plans.lock"):
        plan = Plan.read(paths)
        if plan and plan.flavour != flavour:
            raise Missing(
                f"cluster {plan.name} has {plan.flavour} nodes; choose another --name, "
                f"or run: python3 dev/cluster down --name {plan.name}"
            )
        if plan and (plan.real or running or all(map(ports.is_free, plan.ports.values()))):
            return plan
        others = [other for other in _plans(paths.root.parent) if other.name != paths.name]
        plan = _choose(paths.name, flavour, others, plan)
        write_atomically(paths.plan, json.dumps(asdict(plan), indent=2), mode=0o600)
        return plan


def _plans(folder: Path) -> list[Plan]:
    plans = (Plan.read(ClusterPaths(file.parent)) for file in sorted(folder.glob("*/plan.json")))
    return [plan for plan in plans if plan]


def _choose(name: str, flavour: str, others: list[Plan], old: Plan | None) -> Plan:
    user = old.minio_user if old else f"tune{secrets.token_hex(4)}"
    password = old.minio_password if old else secrets.token_hex(20)
    if flavour == "kwok":
        taken = {port for other in others if not other.real for port in other.ports.values()}
        chosen = ports.choose(PORT_NAMES, taken, ports.is_free)
        return Plan(name, flavour, chosen, user, password)
    slots = {other.slot for other in others}
    in_use = routes(Path("/proc/net/route").read_text())
    for slot in SLOTS:
        plan = Plan(name, flavour, dict(USUAL_PORTS), user, password, slot)
        clash = any(mine.overlaps(theirs) for mine in plan.networks for theirs in in_use)
        if slot not in slots and not clash:
            return plan
    raise ClusterError("no free slot: 10.210-212.0.0/16 are all in use; take a cluster down")


def routes(table: str) -> list[IPv4Network]:
    """The networks in /proc/net/route, the default route left out."""
    networks = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[i])[::-1], "big") for i in (1, 7))
        if mask:
            networks.append(IPv4Network((address & mask, mask.bit_count())))
    return networks
