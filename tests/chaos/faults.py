"""What can be done to a run, and what each of it must cost a trial.

A fault is aimed only at an attempt whose outcome it decides: one that trains and will not complete
any more, because its trainer is told at the same moment. So the counters are known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cost(StrEnum):
    """The counter of the trial that the attempt's end raises by one."""

    DISRUPTION = "disruptions"
    FAILURE = "failures"
    INFRASTRUCTURE = "infrastructure"
    NOTHING = "nothing"


@dataclass(frozen=True)
class TrialFault:
    """``ends``: the attempt is over, another one follows. ``weight``: how often it is drawn."""

    name: str
    cost: Cost
    weight: int = 1
    ends: bool = True


EVICTED_SAVES = TrialFault("evicted, saves and exits 0", Cost.DISRUPTION, 8)
EVICTED_KILLED = TrialFault("evicted, killed at once", Cost.DISRUPTION, 6)
DELETED_SAVES = TrialFault("kubectl delete pod, saves and exits 0", Cost.DISRUPTION, 5)
DELETED_KILLED = TrialFault("kubectl delete pod, killed at once", Cost.DISRUPTION, 5)
FORCE_DELETED = TrialFault("kubectl delete pod --force", Cost.DISRUPTION, 4)
VANISHED = TrialFault("Pod and finalizers gone", Cost.DISRUPTION, 3)
CRASHED = TrialFault("exit code 1, no record", Cost.FAILURE, 4)
OUT_OF_MEMORY = TrialFault("OOMKilled", Cost.FAILURE, 2)
RECORDED_FAILURE = TrialFault("exit record Failed", Cost.FAILURE, 3)
LIAR = TrialFault("exit code 0, no record", Cost.FAILURE, 2)
UNUSABLE = TrialFault("exit code 75", Cost.INFRASTRUCTURE, 4)
INTERRUPTED = TrialFault("interrupted by a signal of nobody's", Cost.NOTHING, 3)
LATE_EVICTION = TrialFault("evicted when just complete", Cost.NOTHING, 4, ends=False)

AIMED = (
    EVICTED_SAVES,
    EVICTED_KILLED,
    DELETED_SAVES,
    DELETED_KILLED,
    FORCE_DELETED,
    VANISHED,
    CRASHED,
    OUT_OF_MEMORY,
    RECORDED_FAILURE,
    LIAR,
    UNUSABLE,
    INTERRUPTED,
    LATE_EVICTION,
)

# Of all attempts on one node at a time.
ON_DELETED_NODE = TrialFault("its node was deleted", Cost.DISRUPTION)
ON_LOST_NODE = TrialFault("its node was lost, itself a zombie", Cost.DISRUPTION)
ON_TAINTED_NODE = TrialFault("NoExecute taint on its node", Cost.DISRUPTION)

# Of some trials from their beginning: every attempt, until none is left.
HOPELESS = TrialFault("a trainer that fails every time", Cost.FAILURE)


class NodeFault(StrEnum):
    """What happens to a node, with the attempts on it."""

    DELETED = "node deleted, added again after Pod GC"
    READDED = "node deleted and added again at once"
    LOST = "node unreachable until its trials were replaced"
    BLINKED = "node unreachable for a moment"
    TAINTED = "node tainted NoExecute"


class OperatorFault(StrEnum):
    """What happens to an operator process. Each of the leader makes another process lead."""

    KILL_LEADER = "leader SIGKILL"
    KILL_STANDBY = "standby SIGKILL"
    STOP_LEADER = "leader SIGTERM"
    FREEZE_LEADER = "leader frozen until another leads"


OF_THE_LEADER = (
    OperatorFault.KILL_LEADER,
    OperatorFault.STOP_LEADER,
    OperatorFault.FREEZE_LEADER,
)


class NetworkFault(StrEnum):
    """What happens for some seconds between an operator and a server."""

    ERRORS = "429, 503, resets before and after the request landed, late requests"
    OUTAGE = "refuses connections"
    SILENCE = "holds everything back"
    CUT = "all connections reset once"


class Server(StrEnum):
    """Which server the network fault is in front of."""

    API = "API server"
    STORE = "store"


Fault = TrialFault | NodeFault | OperatorFault | tuple[Server, NetworkFault]


def title(fault: Fault) -> str:
    """For the table at the end."""
    match fault:
        case TrialFault():
            return f"trial: {fault.name}"
        case (server, network):
            return f"{server.value}: {network.value}"
        case OperatorFault():
            return f"operator: {fault.value}"
        case NodeFault():
            return fault.value
