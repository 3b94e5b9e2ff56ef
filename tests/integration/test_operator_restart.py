"""The operator may be killed at any moment: nothing restarts, nothing flaps."""

import copy
from typing import Any

from tests.integration.lab import Lab
from tests.integration.player import objects, remove
from tune_operator.kube.resources import EXPERIMENTS
from tune_trainer.protocol.exit_record import Outcome


async def restart(lab: Lab) -> None:
    """SIGKILL, then a new process that has to wait for the Lease."""
    lab.operator.kill()
    lab.operator.start()
    await lab.operator.ready()


def durable(obj: dict[str, Any]) -> dict[str, Any]:
    """The status less what a new opening of the run moves: the term."""
    status = copy.deepcopy(obj["status"])
    del status["journal"]
    return dict(status)


async def test_a_running_trial_survives_sigkill_and_its_results_arrive(lab: Lab) -> None:
    await lab.apply("survivor")
    player = await lab.player("survivor", "00000", 1)
    await player.train(3)
    await player.save()
    await lab.trial("survivor", "00000", lambda row: row.get("iteration") == 3)
    before = await lab.get("survivor")
    await restart(lab)
    await player.train(1)
    row = await lab.trial("survivor", "00000", lambda row: row.get("iteration") == 4)
    assert (row["attempt"], row.get("disruptions", 0), row.get("failures", 0)) == (1, 0, 0)
    after = await lab.get("survivor")
    assert after["status"]["live"] == before["status"]["live"]
    assert after["status"]["conditions"] == before["status"]["conditions"]
    assert after["status"]["journal"]["term"] > before["status"]["journal"]["term"]
    await player.train(6)
    await player.complete()
    await lab.condition("survivor", "Complete", "True")


async def test_what_happened_while_the_operator_was_dead_is_counted_once(lab: Lab) -> None:
    await lab.apply("meanwhile")
    player = await lab.player("meanwhile", "00000", 1)
    await player.annotate({"tune.dev/exit-on-delete": "0"})
    await player.train(2)
    await player.save()
    lab.operator.kill()
    await player.end(Outcome.INTERRUPTED)
    await lab.evict(player.pod)
    lab.operator.start()
    await lab.operator.ready()
    second = await lab.player("meanwhile", "00000", 2)
    assert second.iteration == 2
    row = await lab.trial("meanwhile", "00000", lambda row: row["attempt"] == 2)
    assert (row["disruptions"], row.get("failures", 0)) == (1, 0)
    await second.complete()


async def test_a_completion_while_the_operator_was_dead_completes(lab: Lab) -> None:
    await lab.apply("finisher")
    player = await lab.player("finisher", "00000", 1)
    await player.train(2)
    lab.operator.kill()
    player.iteration = 10
    player.seq += 1
    await player.end(Outcome.COMPLETED, reason="StoppedByCriteria", score=0.75)
    await player.exit(0)
    lab.operator.start()
    await lab.operator.ready()
    await lab.condition("finisher", "Complete", "True")
    best = (await lab.get("finisher"))["status"]["best"]
    assert (best["iteration"], best["objectiveValue"]) == (10, 0.75)


async def test_an_experiment_deleted_while_the_operator_was_dead_goes_when_it_is_back(
    lab: Lab,
) -> None:
    await lab.apply("orphan")
    player = await lab.player("orphan", "00000", 1)
    await player.train(1)
    lab.operator.kill()
    await lab.delete("orphan")
    lab.operator.start()
    await lab.operator.ready()
    await lab.gone("orphan")


async def test_sigterm_ends_the_operator_in_order_and_trials_go_on(lab: Lab) -> None:
    await lab.apply("calm")
    player = await lab.player("calm", "00000", 1)
    await player.train(1)
    assert lab.operator.stop() == 0
    lab.operator.start()
    await lab.operator.ready()
    await player.train(1)
    row = await lab.trial("calm", "00000", lambda row: row.get("iteration") == 2)
    assert row["attempt"] == 1


def claims(lab: Lab, prefix: str) -> list[str]:
    """Keys of the journal's segments 0."""
    return [key for key in objects(lab.bucket, prefix) if key.endswith("-00000000.jsonl")]


async def test_every_opening_of_a_run_leaves_one_claim(lab: Lab) -> None:
    made = await lab.apply("claimed")
    player = await lab.player("claimed", "00000", 1)
    prefix = f"{lab.namespace}/{lab.namespace}/claimed/{made['metadata']['uid']}/experiment/j/"
    assert len(claims(lab, prefix)) == 1
    await restart(lab)
    await player.train(1)
    assert len(claims(lab, prefix)) == 2
    term = (await lab.get("claimed"))["status"]["journal"]["term"]
    assert f"/{term:08d}-" in claims(lab, prefix)[-1]


async def test_a_finished_experiment_is_never_written_again(lab: Lab) -> None:
    await lab.apply("quiet")
    player = await lab.player("quiet", "00000", 1)
    await player.complete()
    await lab.condition("quiet", "Complete", "True")
    done = await lab.get("quiet")
    await restart(lab)
    # Another experiment that runs from start to end proves that this one was looked at.
    await lab.apply("other")
    await (await lab.player("other", "00000", 1)).complete()
    await lab.condition("other", "Complete", "True")
    assert (await lab.get("quiet"))["metadata"]["resourceVersion"] == (
        done["metadata"]["resourceVersion"]
    )


async def test_the_operator_writes_nothing_that_gitops_compares(lab: Lab) -> None:
    made = await lab.apply("neutral")
    player = await lab.player("neutral", "00000", 1)
    await player.train(1)
    await player.complete()
    await lab.condition("neutral", "Complete", "True")
    now = await lab.get("neutral")
    assert now["spec"] == made["spec"]
    for field in ("labels", "annotations", "generation"):
        assert now["metadata"].get(field) == made["metadata"].get(field)


async def test_a_status_that_was_lost_is_rebuilt_from_the_journal(lab: Lab) -> None:
    await lab.apply("wiped")
    player = await lab.player("wiped", "00000", 1)
    await player.train(3)
    before = await lab.trial("wiped", "00000", lambda row: row.get("iteration") == 3)
    lab.operator.kill()
    obj = await lab.get("wiped")
    await lab.kube.replace_status(EXPERIMENTS, {**obj, "status": {}})
    lab.operator.start()
    await lab.operator.ready()
    after = await lab.trial("wiped", "00000", lambda row: row.get("iteration") == 3)
    assert after == before
    (pod,) = await lab.pods("wiped")
    assert pod["metadata"]["uid"] == player.pod["metadata"]["uid"]
    await player.train(1)
    await player.complete()
    await lab.condition("wiped", "Complete", "True")


async def test_a_journal_that_was_lost_is_never_taken_for_a_new_experiment(lab: Lab) -> None:
    made = await lab.apply("lost")
    player = await lab.player("lost", "00000", 1)
    await player.train(1)
    await lab.trial("lost", "00000", lambda row: row.get("iteration") == 1)
    lab.operator.kill()
    remove(
        lab.bucket, f"{lab.namespace}/{lab.namespace}/lost/{made['metadata']['uid']}/experiment/"
    )
    lab.operator.start()
    await lab.operator.ready()
    await lab.condition("lost", "StorageAvailable", "False", "JournalLost")
    (pod,) = await lab.pods("lost")
    assert pod["metadata"]["uid"] == player.pod["metadata"]["uid"]
    assert "deletionTimestamp" not in pod["metadata"]
