"""Retention on a cluster: what goes from the store while a trial runs, and with its object."""

from tests.integration.lab import Lab
from tests.integration.test_suspend import trained
from tune_trainer.protocol.keys import CheckpointRef


async def test_old_checkpoints_go_and_the_trial_comes_back_from_what_stays(lab: Lab) -> None:
    await lab.apply("lean", checkpoint={"frequency": 1, "keep": {"latest": 2, "best": 0}})
    player = await lab.player("lean", "00000", 1)
    for _ in range(5):
        await player.train(1)
        await player.save()
    newest = [CheckpointRef(1, 5), CheckpointRef(1, 4)]

    async def found() -> bool:
        listed = await player.store.list(player.keys.manifests())
        return listed == [player.keys.manifest(ref) for ref in reversed(newest)]

    await lab.until(found, "the two newest checkpoints alone", "lean")
    await player.exit(1)
    second = await lab.player("lean", "00000", 2)
    assert second.session is not None
    assert second.session.plan == tuple(newest)
    await second.complete()
    await lab.condition("lean", "Complete", "True")


async def test_with_the_object_all_of_its_run_goes(lab: Lab) -> None:
    storage = lab.manifest("wiped")["spec"]["storage"]
    await lab.apply("wiped", storage={**storage, "deletionPolicy": "Delete"})
    player = await trained(lab, "wiped", "00000")
    assert player.session is not None
    root = f"{player.session.storage.root}/"
    assert await player.store.list(root)
    await lab.delete("wiped")
    await lab.gone("wiped")
    assert await player.store.list(root) == []
    assert "StorageRemains" not in await lab.events("wiped")
