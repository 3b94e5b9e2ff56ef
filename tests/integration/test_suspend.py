"""Suspending and going on: trials save and end, nobody pays, and they go on where they were."""

from collections.abc import Awaitable, Callable

import pytest

from tests.integration.journaled import read_journal
from tests.integration.lab import Lab
from tests.integration.pair import counters
from tests.integration.player import Player
from tests.integration.test_stopping import Deletion, interrupted, saving, unseen
from tests.integration.test_store_outage import unsteady_store
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef


async def trained(lab: Lab, name: str, trial: str, iterations: int = 2) -> Player:
    """A running trainer with a checkpoint, which on SIGTERM exits 0."""
    player = await lab.player(name, trial, 1)
    await player.annotate({"tune.dev/exit-on-delete": "0"})
    await player.train(iterations)
    await player.save()
    return player


async def noticed(lab: Lab, name: str) -> None:
    """Wait until the operator has looked at the specification as it is now."""

    async def found() -> bool:
        obj = await lab.get(name)
        seen: int = obj["status"].get("observedGeneration", 0)
        wanted: int = obj["metadata"]["generation"]
        return seen == wanted

    await lab.until(found, "the newest generation is observed", name)


async def test_suspended_trials_save_and_end_and_go_on_from_there(lab: Lab) -> None:
    made = await lab.apply("rested", numSamples=3, maxConcurrentTrials=2)
    players = [await trained(lab, "rested", trial) for trial in ("00000", "00001")]
    for player in players:
        await player.annotate({"tune.dev/hang": "true"})
    await lab.change("rested", "suspend", True)
    deleted = await lab.pod(
        "rested", "00000", 1, lambda pod: "deletionTimestamp" in pod["metadata"]
    )
    shown = await lab.get("rested")
    assert shown["status"]["live"]["00000"] == f"1/{deleted['metadata']['uid']}/suspend"
    # Versions are those of the whole cluster: the intent was shown before the Pod was deleted.
    version = int(deleted["metadata"]["resourceVersion"])
    assert int(shown["metadata"]["resourceVersion"]) < version
    assert deleted["metadata"]["deletionGracePeriodSeconds"] == 10
    await lab.condition("rested", "Suspended", "False", "Suspending")

    await lab.change("rested", "suspend", False)
    await noticed(lab, "rested")
    assert len(await lab.pods("rested")) == 2, "nobody starts beside one that still saves"
    await lab.change("rested", "suspend", True)
    for player in players:
        await player.end(Outcome.INTERRUPTED)
        await player.annotate({"tune.dev/hang": "false"})
    await lab.condition("rested", "Suspended", "True")
    await lab.no_pods("rested")
    status = (await lab.get("rested"))["status"]
    assert (status["state"], status["live"], status["done"]) == ("Suspended", {}, "0/3")
    assert {row["state"] for row in status["trials"]} == {"Pending"}
    assert (await read_journal(lab, made)).released

    await lab.change("rested", "suspend", False)
    for trial in ("00000", "00001"):
        second = await lab.player("rested", trial, 2)
        assert second.session is not None
        assert second.session.plan == (CheckpointRef(1, 2),)
        row = await lab.trial("rested", trial, lambda row: row["attempt"] == 2)
        assert counters(row) == (0, 0, 0)
    assert not (await read_journal(lab, made)).released
    assert "TrialPreempted" not in await lab.events("rested")


@pytest.mark.parametrize("happens", [unseen, interrupted], ids=lambda f: f.__name__)
async def test_suspending_and_going_on_while_the_operator_is_away(
    lab: Lab, happens: Callable[[Lab, Deletion, list[Player]], Awaitable[None]]
) -> None:
    made = await lab.apply("alone")
    player = await saving(lab, "alone", "00000")
    await happens(lab, lambda: lab.change("alone", "suspend", True), [player])
    await lab.condition("alone", "Suspended", "True")
    await lab.no_pods("alone")
    assert (await read_journal(lab, made)).released

    await unseen(lab, lambda: lab.change("alone", "suspend", False), [])
    second = await lab.player("alone", "00000", 2)
    assert second.session is not None
    assert second.session.plan == (CheckpointRef(1, 2),)
    row = await lab.trial("alone", "00000", lambda row: row["attempt"] == 2)
    assert counters(row) == (0, 0, 0)
    await lab.operator.ready()


async def test_an_experiment_made_suspended_starts_when_it_is_let_and_can_be_deleted_before(
    lab: Lab,
) -> None:
    await lab.apply("later", suspend=True)
    await lab.apply("never", suspend=True)
    for name in ("later", "never"):
        await lab.condition(name, "Suspended", "True")
        assert not await lab.pods(name)
    await lab.delete("never")
    await lab.gone("never")
    await lab.change("later", "suspend", False)
    await (await lab.player("later", "00000", 1)).complete()
    await lab.condition("later", "Complete", "True")


async def test_a_suspended_experiment_that_is_deleted_leaves_its_state(lab: Lab) -> None:
    made = await lab.apply("shelved")
    player = await trained(lab, "shelved", "00000")
    await lab.change("shelved", "suspend", True)
    await lab.condition("shelved", "Suspended", "True")
    await lab.delete("shelved")
    await lab.gone("shelved")
    assert made["metadata"]["uid"] in await lab.event("shelved", "ExperimentStopped")
    journal = await read_journal(lab, made)
    assert journal.released
    (trial,) = journal.state.trials
    assert (trial.open, trial.plan) == (False, (CheckpointRef(1, 2),))
    assert await player.store.list(player.keys.manifest(CheckpointRef(1, 2)))


async def test_trials_that_complete_while_they_are_suspended_complete_the_experiment(
    lab: Lab,
) -> None:
    await lab.apply("both")
    player = await trained(lab, "both", "00000", 10)
    await player.end(Outcome.COMPLETED, reason="StoppedByCriteria")
    await lab.change("both", "suspend", True)
    await lab.condition("both", "Complete", "True", "AllTrialsTerminated")
    status = (await lab.get("both"))["status"]
    assert (status["state"], status["done"]) == ("Complete", "1/1")
    assert counters(status["trials"][0]) == (0, 0, 0)


async def test_suspending_waits_for_the_store_and_nobody_is_ended_without_it(lab: Lab) -> None:
    async with unsteady_store(lab) as (link, storage):
        await lab.apply("patient", storage=storage)
        player = await trained(lab, "patient", "00000")
        link.refuse()
        await lab.change("patient", "suspend", True)
        await lab.condition("patient", "StorageAvailable", "False")
        await lab.condition("patient", "Suspended", "False", "Suspending")
        (pod,) = await lab.pods("patient")
        assert "deletionTimestamp" not in pod["metadata"]
        await player.end(Outcome.INTERRUPTED)
        link.restore()
        await lab.condition("patient", "Suspended", "True")
        await lab.condition("patient", "StorageAvailable", "True")
        await lab.change("patient", "suspend", False)
        assert (await lab.player("patient", "00000", 2)).iteration == 2
        row = await lab.trial("patient", "00000", lambda row: row["attempt"] == 2)
        assert counters(row) == (0, 0, 0)


async def test_a_flapping_suspend_counts_nothing_and_never_makes_two_of_one_trial(
    lab: Lab,
) -> None:
    made = await lab.apply("flaps")
    await trained(lab, "flaps", "00000")
    await lab.change("flaps", "suspend", True)
    await lab.condition("flaps", "Progressing", "False", "Suspended")
    for _ in range(6):
        for wanted in (True, False):
            await lab.change("flaps", "suspend", wanted)
            running = [pod for pod in await lab.pods("flaps") if alive(pod)]
            assert len(running) <= 1

    await noticed(lab, "flaps")

    async def settled() -> int | None:
        # An attempt that is to be stopped still reads Running: until it ends, its intent stays.
        status = (await lab.get("flaps"))["status"]
        (row,) = status["trials"]
        stays = status["live"].get("00000", "").endswith("/")
        alone = len(await lab.pods("flaps")) == 1
        return int(row["attempt"]) if stays and alone and row["state"] == "Running" else None

    attempt = await lab.until(settled, "one attempt is left", "flaps")
    player = await lab.player("flaps", "00000", attempt)
    assert player.iteration == 2
    await player.complete()
    await lab.condition("flaps", "Complete", "True")
    (trial,) = (await read_journal(lab, made)).state.trials
    assert (trial.failures, trial.disruptions, trial.infrastructure) == (0, 0, 0)


def alive(pod: dict[str, object]) -> bool:
    """Whether a trainer may run in it."""
    status = pod["status"]
    assert isinstance(status, dict)
    return status.get("phase") not in ("Succeeded", "Failed")
