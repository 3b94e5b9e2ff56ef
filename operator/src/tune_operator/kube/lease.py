"""Who may hold a Lease, decided from what was read of it. Pure.

As in client-go, a holder is judged by how long its record has not changed on our own monotonic
clock: the times written in the record come from other machines' clocks and are for people only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tune_operator.kube.transport import Object


@dataclass(frozen=True)
class Observed:
    """A Lease as it was read, and when (monotonic seconds) this version of it was first read."""

    lease: Mapping[str, Any]
    since: float

    @classmethod
    def of(cls, lease: Mapping[str, Any], before: "Observed | None", now: float) -> "Observed":
        """What is known after reading `lease` at `now`, given what was known before."""
        if before is not None and _version(before.lease) == _version(lease):
            return before
        return cls(lease, now)

    @property
    def holder(self) -> str:
        """The holder's identity; empty if it was released."""
        return str(self.lease.get("spec", {}).get("holderIdentity") or "")

    def free_for(self, identity: str, now: float) -> bool:
        """Whether `identity` may write itself in."""
        duration = self.lease.get("spec", {}).get("leaseDurationSeconds") or 0
        return self.holder in ("", identity) or now >= self.since + duration


def first(namespace: str, name: str, identity: str, seconds: int, now: datetime) -> Object:
    """A Lease nobody has had before."""
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "holderIdentity": identity,
            "leaseDurationSeconds": seconds,
            "acquireTime": micro_time(now),
            "renewTime": micro_time(now),
            "leaseTransitions": 0,
        },
    }


def taken(lease: Mapping[str, Any], identity: str, seconds: int, now: datetime) -> Object:
    """`lease` with `identity` as its holder, newly or again, at the version it was read at."""
    spec = dict(lease.get("spec", {}))
    if spec.get("holderIdentity") != identity:
        spec["acquireTime"] = micro_time(now)
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
    spec["holderIdentity"] = identity
    spec["leaseDurationSeconds"] = seconds
    spec["renewTime"] = micro_time(now)
    return {**lease, "spec": spec}


def released(lease: Mapping[str, Any], now: datetime) -> Object:
    """`lease` without a holder, so that the next one need not wait."""
    spec = {
        **lease.get("spec", {}),
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "renewTime": micro_time(now),
    }
    return {**lease, "spec": spec}


def micro_time(moment: datetime) -> str:
    """A metav1.MicroTime: RFC 3339 in UTC with exactly six decimals."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _version(lease: Mapping[str, Any]) -> str:
    return str(lease["metadata"]["resourceVersion"])
