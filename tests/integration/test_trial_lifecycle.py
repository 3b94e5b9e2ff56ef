"""Trials on a real API server: their Pods end in real ways, their trainers are played."""

from typing import Any

import pytest

from tests.integration.lab import Lab
from tests.integration.player import Refused
from tune_operator.api.constants import LABEL_EXPERIMENT
from tune_operator.kube.resources import PODS
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef


async def test_two_trials_run_one_after_the_other_and_the_better_is_best(lab: Lab) -> None:
    await lab.apply("two", numSamples=2)
    for trial, score in (("00000", 0.7), ("00001", 0.9)):
        player = await lab.player("two", trial, 1)
        await player.train(10, score=score)
        await player.save()
        await player.complete(score=score)
    await lab.condition("two", "Complete", "True", "AllTrialsTerminated")
    status = (await lab.get("two"))["status"]
    assert status["done"] == "2/2"
    assert status["best"]["trial"] == "00001"
    assert status["best"]["objectiveValue"] == 0.9
    assert status["best"]["checkpoint"]["uri"].endswith("/t/00001/m/00001-0000000010.json")
    assert (status["failures"], status["disruptions"]) == (0, 0)
    await lab.no_pods("two")


async def test_pods_that_are_made_and_deleted_are_counted(lab: Lab) -> None:
    counters = ("tune_pods_created_total", "tune_pods_deleted_total")
    before = [await lab.operator.metric(name) for name in counters]
    await lab.apply("counted")
    await (await lab.player("counted", "00000", 1)).complete()
    await lab.condition("counted", "Complete", "True")
    await lab.no_pods("counted")

    async def counted() -> bool:
        after = [await lab.operator.metric(name) for name in counters]
        return all(later > earlier for earlier, later in zip(before, after, strict=True))

    await lab.until(counted, "both are counted", "counted")


async def test_an_evicted_trial_resumes_at_its_last_checkpoint_and_counts_one_disruption(
    lab: Lab,
) -> None:
    await lab.apply("evicted")
    first = await lab.player("evicted", "00000", 1)
    await first.annotate({"tune.dev/exit-on-delete": "0"})
    await first.train(4)
    await first.save()
    await first.train(1)
    await first.end(Outcome.INTERRUPTED)
    await lab.evict(first.pod)
    second = await lab.player("evicted", "00000", 2)
    assert second.session is not None
    assert second.session.plan == (CheckpointRef(1, 4),)
    row = await lab.trial("evicted", "00000", lambda row: row["attempt"] == 2)
    why = row["lastInterruption"]
    assert (why["class"], why["reason"], why["row"]) == ("preempted", "EvictionByEvictionAPI", 8)
    assert (row["disruptions"], row.get("failures", 0)) == (1, 0)
    assert (await lab.get("evicted"))["status"]["lostIterations"] == 1
    assert "iteration 4" in await lab.event("evicted", "TrialResumed")
    await second.train(6)
    await second.complete()
    await lab.condition("evicted", "Complete", "True")


async def test_exit_code_0_without_a_record_is_no_success(lab: Lab) -> None:
    await lab.apply("liar", failure={"maxFailures": 0})
    player = await lab.player("liar", "00000", 1)
    await player.annotate({"tune.dev/exit-on-delete": "0"})
    await player.train(1)
    await lab.evict(player.pod)  # exits 0 when told to go, says nothing
    row = await lab.trial("liar", "00000", lambda row: row["state"] == "Errored")
    assert (row["lastInterruption"]["row"], row["disruptions"]) == (8, 1)


@pytest.mark.parametrize(
    ("code", "annotations", "reason", "row"),
    [
        (1, {}, "Error", 16),
        (137, {"tune.dev/exit-reason": "OOMKilled"}, "OOMKilled", 16),
        (143, {}, "Error", 16),
    ],
    ids=["exit 1", "OOM", "143 that nobody sent"],
)
async def test_a_failing_trial_gets_n_retries_and_then_errors(
    lab: Lab, code: int, annotations: dict[str, str], reason: str, row: int
) -> None:
    await lab.apply("failing", failure={"maxFailures": 1, "backoff": {"initialSeconds": 0}})
    for attempt in (1, 2):
        player = await lab.player("failing", "00000", attempt)
        await player.exit(code, **annotations)
    ended = await lab.trial("failing", "00000", lambda row: row["state"] == "Errored")
    assert ended["failures"] == 2
    assert (ended["lastInterruption"]["reason"], ended["lastInterruption"]["row"]) == (reason, row)
    await lab.condition("failing", "Failed", "True", "AllTrialsErrored")
    # The last one shows what happened; nothing holds it.
    kept = await lab.pod("failing", "00000", 2, lambda pod: not pod["metadata"].get("finalizers"))
    await lab.only("failing", kept)


async def test_a_trainer_that_finds_its_store_unusable_costs_no_budget(lab: Lab) -> None:
    await lab.apply("unusable", failure={"maxFailures": 0, "backoff": {"initialSeconds": 0}})
    first = await lab.player("unusable", "00000", 1)
    await first.exit(75)
    second = await lab.player("unusable", "00000", 2)
    await second.complete()
    row = await lab.trial("unusable", "00000", lambda row: row["state"] == "Terminated")
    assert (row["infrastructure"], row.get("failures", 0)) == (1, 0)


async def test_completion_wins_over_the_exit_code(lab: Lab) -> None:
    await lab.apply("won")
    player = await lab.player("won", "00000", 1)
    await player.train(10)
    await player.end(Outcome.COMPLETED, reason="StoppedByCriteria")
    await player.exit(137, **{"tune.dev/exit-reason": "OOMKilled"})
    row = await lab.trial("won", "00000", lambda row: row["state"] == "Terminated")
    assert (row["reason"], row.get("failures", 0)) == ("StoppedByCriteria", 0)


async def test_a_replaced_attempt_is_refused(lab: Lab) -> None:
    await lab.apply("zombie")
    zombie = await lab.player("zombie", "00000", 1)
    await zombie.train(2)
    await zombie.exit(1)
    current = await lab.player("zombie", "00000", 2)
    with pytest.raises(Refused) as refused:
        await zombie.train(1)
    assert refused.value.status == 401
    row = await lab.trial("zombie", "00000", lambda row: row["attempt"] == 2)
    assert row.get("iteration", 0) == 0
    await current.complete()


async def test_delete_stops_gracefully_and_leaves_the_checkpoints(lab: Lab) -> None:
    made = await lab.apply("stopped")
    player = await lab.player("stopped", "00000", 1)
    await player.annotate({"tune.dev/exit-on-delete": "0"})
    await player.train(3)
    await player.save()
    await player.end(Outcome.INTERRUPTED)
    await lab.delete("stopped")
    await lab.gone("stopped")
    manifest = player.keys.manifest(CheckpointRef(1, 3))
    assert manifest in await player.store.list(manifest)
    assert made["metadata"]["uid"] in manifest


async def test_delete_before_anything_started_needs_no_store(lab: Lab) -> None:
    storage: dict[str, Any] = {
        "uri": "s3://nowhere",
        "endpoint": "http://127.0.0.1:9",
        "credentials": {"mode": "Secret", "secretRef": {"name": "storage"}},
    }
    await lab.apply("lost", storage=storage)
    await lab.condition("lost", "StorageAvailable", "False", "Unreachable")
    await lab.delete("lost")
    await lab.gone("lost")


async def test_a_pod_whose_label_names_another_experiment_ends_no_run(lab: Lab) -> None:
    """The operator looks at an experiment that does not exist, with the UID of one that does."""
    await lab.apply("relabelled", numSamples=2, maxConcurrentTrials=2)
    players = [await lab.player("relabelled", trial, 1) for trial in ("00000", "00001")]
    path = f"/metadata/labels/{LABEL_EXPERIMENT.replace('/', '~1')}"
    name = players[0].pod["metadata"]["name"]
    ops = [{"op": "replace", "path": path, "value": "another"}]
    await lab.kube.json_patch(PODS, lab.namespace, name, ops)
    for player in players:
        await player.train(10)
        await player.save()
        await player.complete()
    await lab.condition("relabelled", "Complete", "True", "AllTrialsTerminated")
    status = (await lab.get("relabelled"))["status"]
    assert (status["failures"], status["disruptions"]) == (0, 0)
