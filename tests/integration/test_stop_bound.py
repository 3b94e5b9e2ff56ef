"""Deletions that cannot end in order: the object goes at its bound, and says what it left.

The bound is at least 31 s, so all tests share one wait: everything is deleted at once, before the
first test, and each test then looks at an experiment of its own.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.clusters import Bucket, Cluster
from tests.integration.fleet import template
from tests.integration.journaled import read_journal
from tests.integration.lab import SECRET, Lab
from tests.integration.operator_process import OperatorProcess
from tests.integration.player import Player, Refused
from tests.integration.test_store_outage import unsteady_store
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, NotFound
from tune_operator.kube.resources import EXPERIMENTS, NAMESPACES, PODS, SECRETS
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

FOREIGN = "tests.tuneoperator.io/somebody-elses"
HASTY: dict[str, Any] = {"trainer": None, "template": template(), "stopGracePeriodSeconds": 11}
SAVED = CheckpointRef(1, 2)


@dataclass
class Deleted:
    """What was deleted at the same moment, and what the tests need of it."""

    lab: Lab
    homeless: Lab
    welcome: Lab
    storeless: Lab
    made: dict[str, dict[str, Any]]
    players: dict[str, Player]


async def space(kube: Kube, lab: tuple[Bucket, OperatorProcess], name: str) -> Lab:
    """A namespace with the store's Secret."""
    await kube.create(NAMESPACES, None, {"metadata": {"name": f"test-{os.getpid()}-{name}"}})
    bench = Lab(kube, f"test-{os.getpid()}-{name}", *lab)
    bench.patience = 60
    await bench.secret()
    return bench


async def remove(lab: Lab) -> None:
    """Delete a namespace."""
    try:
        live = await lab.kube.get(NAMESPACES, None, lab.namespace)
        await lab.kube.delete(NAMESPACES, None, lab.namespace, uid=live["metadata"]["uid"])
    except (NotFound, Conflict):
        pass


async def trained(lab: Lab, name: str, trial: str = "00000") -> Player:
    """A trainer with a checkpoint, that exits at once and without a word when it is told to go."""
    player = await lab.player(name, trial, 1)
    await player.train(2)
    await player.save()
    return player


async def held(lab: Lab) -> Player:
    """A trial goes on beside an ended Pod that somebody else does not let go."""
    first = await trained(lab, "held")
    ops = [{"op": "add", "path": "/metadata/finalizers/-", "value": FOREIGN}]
    await lab.kube.json_patch(PODS, lab.namespace, first.name, ops)
    await first.end(Outcome.INTERRUPTED)
    await first.exit(0)
    second = await lab.player("held", "00000", 2)
    assert second.iteration == 2
    await lab.pod("held", "00000", 1, lambda pod: pod["metadata"]["finalizers"] == [FOREIGN])
    return first


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deleted(
    cluster: Cluster, minio: Bucket, operator: OperatorProcess
) -> AsyncIterator[Deleted]:
    """Everything runs, then everything is deleted."""
    kube = await Kube.connect()
    await operator.ready()
    labs = [
        await space(kube, (minio, operator), name)
        for name in ("bound", "homeless", "welcome", "storeless")
    ]
    lab, homeless, welcome, storeless = labs
    try:
        async with unsteady_store(lab) as (link, storage):
            made = {
                "zombie": await lab.apply("zombie", **HASTY),
                "unwritten": await lab.apply("unwritten", storage=storage, **HASTY),
                "held": await lab.apply("held", **HASTY),
                "homeless": await homeless.apply("homeless", **HASTY),
                "storeless": await storeless.apply("storeless", storage=storage, **HASTY),
                "welcome": await welcome.apply("welcome", numSamples=2, maxConcurrentTrials=2),
            }
            players = {
                "zombie": await trained(lab, "zombie"),
                "unwritten": await trained(lab, "unwritten"),
                "held": await held(lab),
                "homeless": await trained(homeless, "homeless"),
                "storeless": await trained(storeless, "storeless"),
                "welcome": await trained(welcome, "welcome"),
            }
            await players["zombie"].annotate({"tune.dev/hang": "true"})
            link.refuse()
            operator.kill()
            keys = await kube.get(SECRETS, homeless.namespace, SECRET)
            uid = keys["metadata"]["uid"]
            await kube.delete(SECRETS, homeless.namespace, SECRET, uid=uid)
            await homeless.delete("homeless")
            await remove(homeless)
            operator.start()
            await operator.ready()
            await asyncio.gather(*(lab.delete(name) for name in ("zombie", "unwritten", "held")))
            await asyncio.gather(remove(welcome), remove(storeless))
            yield Deleted(lab, homeless, welcome, storeless, made, players)
    finally:
        items, _ = await kube.list(EXPERIMENTS, lab.namespace)
        for item in items:
            await lab.delete(item["metadata"]["name"])
        for bench in labs:
            await remove(bench)
        await kube.close()


async def left(lab: Lab, name: str) -> None:
    """Wait until the experiment does not exist any more, whatever is left of its Pods."""

    async def found() -> bool:
        try:
            await lab.get(name)
        except NotFound:
            return True
        return False

    await lab.until(found, f"{name} is gone", name)


async def vanished(lab: Lab) -> None:
    """Wait until the namespace does not exist any more: no finalizer of ours holds anything."""

    async def found() -> bool:
        try:
            await lab.kube.get(NAMESPACES, None, lab.namespace)
        except NotFound:
            return True
        return False

    await lab.until(found, f"{lab.namespace} is gone", "any")


async def test_deleting_the_namespace_ends_all_in_order(deleted: Deleted) -> None:
    lab = deleted.welcome
    await lab.gone("welcome")
    journal = await read_journal(lab, deleted.made["welcome"])
    assert journal.released
    first, second = journal.state.trials
    assert (first.open, first.phase, first.plan) == (False, "Pending", (SAVED,))
    assert (second.open, second.phase, second.plan) == (False, "Pending", ())
    assert {(trial.attempt, trial.disruptions) for trial in (first, second)} == {(1, 0)}
    await vanished(lab)


async def test_a_pod_that_never_ends_is_fenced_and_its_trainer_refused(deleted: Deleted) -> None:
    lab, zombie = deleted.lab, deleted.players["zombie"]
    await lab.condition("zombie", "Stopping", "True")
    await left(lab, "zombie")
    assert "stay at" in await lab.event("zombie", "ExperimentStopped")
    journal = await read_journal(lab, deleted.made["zombie"])
    assert journal.released
    (trial,) = journal.state.trials
    assert (trial.open, trial.phase, trial.plan) == (False, "Pending", (SAVED,))
    (pod,) = await lab.pods("zombie")
    assert not pod["metadata"].get("finalizers")
    with pytest.raises(Refused) as refused:
        await zombie.train(1)
    assert refused.value.status == 401
    await zombie.annotate({"tune.dev/hang": "false"})
    await lab.no_pods("zombie")


async def test_without_its_store_it_goes_and_says_what_was_not_written(deleted: Deleted) -> None:
    lab, made = deleted.lab, deleted.made["unwritten"]
    await lab.gone("unwritten")
    uri = f"s3://{lab.bucket.bucket}/{lab.namespace}/{lab.namespace}/unwritten/"
    message = await lab.event("unwritten", "ExperimentCheckpointNotWritten")
    assert f"{uri}{made['metadata']['uid']}" in message
    journal = await read_journal(lab, made)
    assert not journal.released
    assert journal.state.trials[0].open, "whoever opens the run next settles it"
    player = deleted.players["unwritten"]
    assert await player.store.list(player.keys.manifest(SAVED))


async def test_a_pod_that_somebody_else_holds_does_not_hold_the_object(deleted: Deleted) -> None:
    lab, first = deleted.lab, deleted.players["held"]
    await left(lab, "held")
    assert (await read_journal(lab, deleted.made["held"])).released
    (pod,) = await lab.pods("held")
    assert (pod["metadata"]["name"], pod["metadata"]["finalizers"]) == (first.name, [FOREIGN])
    ops = [{"op": "remove", "path": "/metadata/finalizers"}]
    await lab.kube.json_patch(PODS, lab.namespace, first.name, ops)
    await lab.no_pods("held")


async def test_a_namespace_that_lost_its_keys_first_is_not_held_up(deleted: Deleted) -> None:
    lab = deleted.homeless
    await lab.gone("homeless")
    journal = await read_journal(lab, deleted.made["homeless"])
    assert not journal.released
    await vanished(lab)


async def test_a_namespace_that_is_deleted_with_its_store_is_not_held_up(deleted: Deleted) -> None:
    """Pods go first, and the experiment is deleted only when they are gone."""
    lab = deleted.storeless
    await lab.gone("storeless")
    assert not (await read_journal(lab, deleted.made["storeless"])).released
    await vanished(lab)
