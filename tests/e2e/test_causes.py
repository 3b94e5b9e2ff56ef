"""What can go wrong in a Pod of a real kubelet: what each costs, and what people are told."""

from typing import Any

import pytest

from tests.e2e.stage import KUBECTL, PATIENCE, Stage
from tests.e2e.workload import slow, unruly, unruly_template
from tests.polling import soon

pytestmark = pytest.mark.timeout(180)

LAST_CHANCE = {"maxFailures": 0}


@pytest.fixture(scope="module", autouse=True)
def _early(stage: Stage) -> None:
    """What takes the kubelet a while to notice goes on beside the other cases."""
    stage.apply(
        "full-disk",
        **{
            **slow(1000, 0.3, deaf=True, litter_at=2),
            "failure": LAST_CHANCE,
            "trainer": None,
            "template": unruly_template(limits={"ephemeral-storage": "20Mi"}),
        },
    )
    stage.apply(
        "never-pulled",
        **{
            **slow(3, 0),
            "failure": {**LAST_CHANCE, "startTimeoutSeconds": 20},
            "trainer": {"image": "dev.local/none:dev", "entrypoint": "digits:Digits"},
        },
    )


def counters(row: dict[str, Any]) -> dict[str, int]:
    """What its endings cost a trial, and which attempt it is in."""
    names = ("attempt", "failures", "disruptions", "infrastructure")
    return {name: row[name] for name in names if row.get(name)}


def why(row: dict[str, Any]) -> tuple[int, str, str]:
    """How its last attempt was cut short."""
    last = row["lastInterruption"]
    return last["row"], last["class"], last["reason"]


def no_pods(stage: Stage, name: str) -> None:
    """Wait until no Pod of the experiment is left."""
    soon(lambda: not stage.pods(name), f"no Pod of {name}", PATIENCE, lambda: stage.explain(name))


def test_more_memory_in_the_live_object_ends_oom_kills(
    stage: Stage, undisturbed: dict[str, Any]
) -> None:
    changes = slow(16, 0, hoard_at=3)
    changes["failure"]["backoff"]["initialSeconds"] = 300  # time to think
    stage.apply("oom", **{**changes, "trainer": unruly(limits={"memory": "400Mi"})})
    held_up = stage.condition("oom", "Stalled", reason="OOMKilled")
    assert "trial 00000 attempt 1" in held_up["message"]
    assert "raise its memory limit" in held_up["message"]
    stage.told("oom", "TrialFailed", "OOMKilled: the trainer used more memory than its limit")
    assert stage.line("oom")["FAILURES"] == "1"
    row = stage.row("oom")
    assert (row["state"], why(row)) == ("Pending", (16, "failed", "OOMKilled"))
    assert row["lastInterruption"]["exitCode"] == 137
    stage.change(
        "oom",
        trainer={"resources": {"limits": {"memory": "1Gi"}}},
        failure={"backoff": {"initialSeconds": 0}},
    )
    stage.condition("oom", "Complete")
    row = stage.row("oom")
    assert counters(row) == {"attempt": 2, "failures": 1}
    assert row["objectiveValue"] == undisturbed["objectiveValue"]


def test_sigterm_ignored_until_sigkill_is_a_disruption_that_saves_nothing(
    stage: Stage, undisturbed: dict[str, Any]
) -> None:
    changes = {**slow(16, 0, deaf=True, first_pace=0.8), "trainer": None}
    stage.apply("deaf", **{**changes, "template": unruly_template(grace=1)})
    stage.reaches("deaf", 6)
    stage.shell.run(*KUBECTL, "delete", "pod", stage.pod("deaf", "00000"), "--wait=false")
    row = stage.attempt("deaf", 2)
    assert why(row) == (16, "preempted", "Deleted")
    assert row["lastInterruption"]["exitCode"] == 137
    stage.told("deaf", "TrialPreempted", "resumed as attempt 2 from the checkpoint of iteration")
    stage.condition("deaf", "Complete")
    row = stage.row("deaf")
    assert counters(row) == {"attempt": 2, "disruptions": 1}
    assert row["objectiveValue"] == undisturbed["objectiveValue"]
    first = [ref for ref in stage.committed("deaf", stage.uid("deaf")) if ref.attempt == 1]
    assert all(ref.iteration % 5 == 0 for ref in first), "nothing was saved at the kill itself"


def test_a_sidecar_that_outlives_the_trainer_holds_up_nothing(
    stage: Stage, undisturbed: dict[str, Any]
) -> None:
    template = unruly_template(grace=2, sidecar=True)
    stage.apply("accompanied", **{**slow(16, 0), "trainer": None, "template": template})
    stage.condition("accompanied", "Complete")
    row = stage.row("accompanied")
    assert (row["state"], row["reason"]) == ("Terminated", "StoppedByCriteria")
    assert counters(row) == {"attempt": 1}
    assert row["objectiveValue"] == undisturbed["objectiveValue"]
    no_pods(stage, "accompanied")


def test_an_image_that_cannot_be_pulled_is_one_failure_and_says_so(stage: Stage) -> None:
    failed = stage.condition("never-pulled", "Failed", reason="AllTrialsErrored")
    row = stage.row("never-pulled")
    number, kind, reason = why(row)
    assert (number, kind) == (3, "failed")
    assert reason in ("ErrImagePull", "ImagePullBackOff"), "noted before the Pod was deleted"
    assert "dev.local/none:dev" in row["lastInterruption"]["message"]
    assert counters(row) == {"attempt": 1, "failures": 1}
    assert reason in failed["message"]
    stage.told("never-pulled", "BudgetExhausted", "dev.local/none:dev")
    no_pods(stage, "never-pulled")


def test_more_files_than_its_limit_are_a_failure_that_would_repeat(stage: Stage) -> None:
    failed = stage.condition("full-disk", "Failed", reason="AllTrialsErrored")
    row = stage.row("full-disk")
    assert why(row) == (15, "failed", "ResourceLimit")
    assert (row["state"], row["reason"]) == ("Errored", "ResourceLimit")
    assert counters(row) == {"attempt": 1, "failures": 1}
    assert "ephemeral local storage usage exceeds the total limit" in failed["message"]
    stage.told("full-disk", "TrialErrored", "ephemeral local storage usage exceeds")
    (pod,) = stage.pods("full-disk")
    assert pod["status"]["reason"] == "Evicted", "the Pod of an errored trial stays"
    kinds = [condition["type"] for condition in pod["status"]["conditions"]]
    assert "DisruptionTarget" not in kinds, "its own limit: nobody else's pressure"


def test_one_that_saves_before_its_files_end_it_goes_on_from_there_and_pays_nothing(
    stage: Stage,
) -> None:
    """Exit 0, a record, and nothing in the Pod that says why: it might repeat, but it gets on.

    The kubelet looks every ten seconds, and leaves two: for an iteration, a save and the record. So
    nothing else runs beside it.
    """
    stage.apply(
        "litters",
        **{
            **slow(300, 0, litter_at=2, first_pace=0.2),
            "trainer": None,
            "template": unruly_template(limits={"ephemeral-storage": "20Mi"}),
        },
    )
    stage.attempt("litters", 2)
    stage.condition("litters", "Complete")
    row = stage.row("litters")
    assert why(row) == (9, "interrupted", "SIGTERM")
    assert counters(row) == {"attempt": 2}
    assert row["lastInterruption"]["exitCode"] == 0
