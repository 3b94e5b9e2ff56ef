"""kubectl delete in every way it is done, whatever the operator does meanwhile: an orderly end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.integration.fleet import Fleet
from tests.integration.journaled import read_journal
from tests.integration.lab import Lab
from tests.integration.player import Player
from tune_operator.kube.resources import EXPERIMENTS
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef

CASCADES = ("background", "foreground", "orphan")
FOREIGN = "example.com/held"
Deletion = Callable[[], Awaitable[None]]


async def watched(lab: Lab, delete: Deletion, players: list[Player]) -> None:
    """Nothing unusual: the operator sees it happen."""
    await delete()


async def unseen(lab: Lab, delete: Deletion, players: list[Player]) -> None:
    """The operator is not there when it is asked for."""
    lab.operator.kill()
    await delete()
    lab.operator.start()
    await lab.operator.ready()


async def interrupted(lab: Lab, delete: Deletion, players: list[Player]) -> None:
    """The operator dies while the trainers save; they end while it is away."""
    await asyncio.gather(*(player.annotate({"tune.dev/hang": "true"}) for player in players))
    await delete()
    for player in players:
        name = player.name.rsplit("-", 3)[0]
        await lab.pod(name, player.trial, 1, lambda pod: "deletionTimestamp" in pod["metadata"])
    lab.operator.kill()
    await asyncio.gather(*(player.annotate({"tune.dev/hang": "false"}) for player in players))
    lab.operator.start()
    await lab.operator.ready()


async def saving(lab: Lab, name: str, trial: str) -> Player:
    """A trainer that saved at iteration 2 and, on SIGTERM, says it was interrupted at 3."""
    player = await lab.player(name, trial, 1)
    await player.annotate({"tune.dev/exit-on-delete": "0"})
    await player.train(2)
    await player.save()
    await player.train(1)
    await player.end(Outcome.INTERRUPTED)
    return player


@pytest.mark.parametrize("happens", [watched, unseen, interrupted], ids=lambda f: f.__name__)
async def test_delete_ends_all_in_order_with_every_cascade(
    lab: Lab, fleet: Fleet, happens: Callable[[Lab, Deletion, list[Player]], Awaitable[None]]
) -> None:
    made = {
        cascade: await lab.apply(cascade, numSamples=3, maxConcurrentTrials=2)
        for cascade in CASCADES
    }
    players = [
        await saving(lab, cascade, trial) for cascade in CASCADES for trial in ("00000", "00001")
    ]

    async def delete() -> None:
        for cascade in CASCADES:
            await fleet.kubectl(
                "delete",
                "tx",
                cascade,
                f"--namespace={lab.namespace}",
                f"--cascade={cascade}",
                "--wait=false",
            )

    await happens(lab, delete, players)
    for cascade in CASCADES:
        await lab.gone(cascade)
        assert made[cascade]["metadata"]["uid"] in await lab.event(cascade, "ExperimentStopped")
        journal = await read_journal(lab, made[cascade])
        assert journal.released
        for trial in journal.state.trials:
            assert (trial.open, trial.phase, trial.iteration) == (False, "Pending", 3)
            assert (trial.failures, trial.disruptions, trial.infrastructure) == (0, 0, 0)
            assert trial.plan == (CheckpointRef(1, 2),)
            assert journal.results(trial.name, 1) == [1, 2, 3]
        assert len(journal.state.trials) == 2, "nobody started meanwhile"
    for player in players:
        assert await player.store.list(player.keys.manifest(CheckpointRef(1, 2)))


@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart"])
async def test_delete_after_a_change_that_was_refused_ends_in_order(
    lab: Lab, restart: bool
) -> None:
    made = await lab.apply("stretched", numSamples=2)
    player = await lab.player("stretched", "00000", 1)
    await player.annotate({"tune.dev/exit-on-delete": "0"})
    await player.train(1)
    await lab.change("stretched", "numSamples", 10_001)
    assert "lower numSamples" in await lab.condition(
        "stretched", "Accepted", "False", "TooManyTrials"
    )
    if restart:
        lab.operator.kill()
        lab.operator.start()
        await lab.operator.ready()
    await player.train(1)
    await player.save()
    await player.end(Outcome.INTERRUPTED)
    await lab.delete("stretched")
    await lab.gone("stretched")
    assert made["metadata"]["uid"] in await lab.event("stretched", "ExperimentStopped")
    journal = await read_journal(lab, made)
    assert journal.released
    (trial,) = journal.state.trials
    assert (trial.open, trial.phase, trial.plan) == (False, "Pending", (CheckpointRef(1, 2),))
    assert (trial.failures, trial.disruptions) == (0, 0)


async def test_a_foreign_finalizer_holds_the_object_and_nothing_of_ours(lab: Lab) -> None:
    made = await lab.apply("held")
    await saving(lab, "held", "00000")
    ops = [{"op": "add", "path": "/metadata/finalizers/-", "value": FOREIGN}]
    await lab.kube.json_patch(EXPERIMENTS, lab.namespace, "held", ops)
    await lab.delete("held")

    async def left() -> dict[str, Any] | None:
        obj = await lab.get("held")
        return obj if obj["metadata"]["finalizers"] == [FOREIGN] else None

    obj = await lab.until(left, "only the foreign finalizer is left", "held")
    await lab.no_pods("held")
    assert (await read_journal(lab, made)).released
    lab.operator.kill()
    lab.operator.start()
    await lab.operator.ready()
    # Another experiment that runs from start to end proves that this one was looked at.
    await lab.apply("other")
    await (await lab.player("other", "00000", 1)).complete()
    await lab.condition("other", "Complete", "True")
    still = await lab.get("held")
    assert still["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]
    assert not await lab.pods("held")
    ops = [{"op": "remove", "path": "/metadata/finalizers"}]
    await lab.kube.json_patch(EXPERIMENTS, lab.namespace, "held", ops)
    await lab.gone("held")
