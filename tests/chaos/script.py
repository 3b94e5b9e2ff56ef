"""The script of a run: which fault strikes when. A seed and a budget give always the same one.

Whom it strikes is drawn too, but out of those that are there at that moment: the interleaving
belongs to the machine, and no seed brings it back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.faults import AIMED, Fault, NetworkFault, NodeFault, OperatorFault, Server

# Per 200 seconds: each as often as it has room for.
SHARED: dict[Fault, int] = {
    NodeFault.DELETED: 1,
    NodeFault.READDED: 1,
    NodeFault.LOST: 2,
    NodeFault.BLINKED: 1,
    NodeFault.TAINTED: 2,
    OperatorFault.KILL_LEADER: 4,
    OperatorFault.KILL_STANDBY: 1,
    OperatorFault.STOP_LEADER: 2,
    OperatorFault.FREEZE_LEADER: 2,
    (Server.API, NetworkFault.ERRORS): 6,
    (Server.API, NetworkFault.OUTAGE): 2,
    (Server.API, NetworkFault.SILENCE): 2,
    (Server.API, NetworkFault.CUT): 3,
    (Server.STORE, NetworkFault.ERRORS): 6,
    (Server.STORE, NetworkFault.OUTAGE): 2,
    (Server.STORE, NetworkFault.SILENCE): 1,
    (Server.STORE, NetworkFault.CUT): 2,
}
PER_SECONDS = 200
SLOW: tuple[Fault, ...] = (NodeFault.DELETED, NodeFault.LOST)
"""Take more than a minute: they begin early, or the run would wait for nothing else."""


@dataclass(frozen=True)
class Strike:
    """One fault at one moment; ``seed`` is for what is drawn then."""

    at: float
    fault: Fault
    seed: int


def write(seed: int, seconds: float, faults: int) -> list[Strike]:
    """``faults`` aimed at single trials and the shared ones, over so many seconds, in order."""
    chance = random.Random(seed)
    drawn: list[Fault] = [*chance.choices(AIMED, [fault.weight for fault in AIMED], k=faults)]
    for fault, times in SHARED.items():
        drawn += [fault] * max(1, round(times * seconds / PER_SECONDS))
    return sorted(
        (Strike(_moment(chance, fault, seconds), fault, chance.getrandbits(32)) for fault in drawn),
        key=lambda strike: strike.at,
    )


def _moment(chance: random.Random, fault: Fault, seconds: float) -> float:
    return chance.uniform(0.02, 0.5 if fault in SLOW else 1.0) * seconds
