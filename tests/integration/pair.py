"""Two running trials of one experiment: something happens to one, the other must not notice."""

from dataclasses import dataclass
from typing import Any

from tests.integration.lab import Lab
from tests.integration.player import Player
from tune_trainer.protocol.keys import CheckpointRef

SAVED = 4
"""Iteration of the victim's checkpoint; it has trained one more since."""


@dataclass(frozen=True)
class Ended:
    """What the decision table is expected to make of an ending, and the counters after it."""

    row: int
    cls: str
    reason: str
    failures: int = 0
    disruptions: int = 0
    infrastructure: int = 0

    def check(self, row: dict[str, Any], attempt: int) -> None:
        """Compare with a row of ``status.trials``."""
        why = row["lastInterruption"]
        found = Ended(why["row"], why["class"], why["reason"], *counters(row))
        assert found == self
        assert why["attempt"] == attempt


@dataclass(frozen=True)
class Pair:
    """``victim`` is trial 00000, ``bystander`` trial 00001."""

    lab: Lab
    name: str
    victim: Player
    bystander: Player

    @classmethod
    async def start(cls, lab: Lab, name: str, **changes: Any) -> "Pair":
        """Both run; the victim has a checkpoint and an iteration to lose."""
        await lab.apply(name, **{"numSamples": 2, "maxConcurrentTrials": 2, **changes})
        victim = await lab.player(name, "00000", 1)
        bystander = await lab.player(name, "00001", 1)
        await victim.train(SAVED)
        await victim.save()
        await victim.train(1)
        return cls(lab, name, victim, bystander)

    @property
    def node(self) -> str:
        """Where the victim runs."""
        node: str = self.victim.pod["spec"]["nodeName"]
        return node

    async def resumed(self, ended: Ended) -> Player:
        """The victim's next attempt: it goes on from the checkpoint, the ending was counted once,
        nothing is left of the old Pod, and the bystander runs on.
        """
        attempt = self.victim.attempt + 1
        successor = await self.lab.player(self.name, self.victim.trial, attempt)
        assert successor.session is not None
        assert successor.session.plan == (CheckpointRef(self.victim.attempt, SAVED),)
        row = await self.lab.trial(
            self.name, self.victim.trial, lambda row: row["attempt"] == attempt
        )
        ended.check(row, self.victim.attempt)
        await self.only(successor, self.bystander)
        await self.unnoticed()
        return successor

    async def only(self, *players: Player) -> None:
        """Wait until these are all Pods of the experiment."""
        await self.lab.only(self.name, *(player.pod for player in players))

    async def unnoticed(self) -> None:
        """The bystander is heard in its first attempt, and the sums are the victim's alone."""
        await self.bystander.train(1)
        status = (await self.lab.get(self.name))["status"]
        rows = {row["name"]: row for row in status["trials"]}
        assert rows["00001"]["attempt"] == 1
        assert counters(rows["00001"]) == (0, 0, 0)
        assert "lastInterruption" not in rows["00001"]
        sums = (status["failures"], status["disruptions"], status["infrastructure"])
        assert sums == counters(rows["00000"])


def counters(row: dict[str, Any]) -> tuple[int, int, int]:
    """Failures, disruptions, infrastructure rejections of a trial; zeros are left out of rows."""
    return row.get("failures", 0), row.get("disruptions", 0), row.get("infrastructure", 0)
