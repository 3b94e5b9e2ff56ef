"""Ending real training on purpose: by suspending, by deleting, and because another trial failed."""

import time
from typing import Any

import pytest

from tests.e2e.stage import KUBECTL, PATIENCE, Stage
from tests.e2e.workload import slow, unruly, unruly_template
from tests.polling import soon
from tune_trainer.protocol.exit_record import Outcome

pytestmark = pytest.mark.timeout(180)

STOP_BOUND = 32
"""Seconds: the template's 2 of grace, and 30."""


def test_suspended_and_back_ends_like_an_undisturbed_one(
    stage: Stage, undisturbed: dict[str, Any]
) -> None:
    stage.apply("suspended", **{**slow(16, 0, first_pace=1), "trainer": unruly()})
    reported = stage.reaches("suspended", 6)["iteration"]
    stage.change("suspended", suspend=True)
    stage.condition("suspended", "Suspended", reason="Suspended")
    soon(
        lambda: not stage.pods("suspended"), "no Pod", PATIENCE, lambda: stage.explain("suspended")
    )
    soon(
        lambda: stage.killed("suspended"),
        "the kubelet tells that it sent a signal",
        PATIENCE,
        lambda: stage.explain("suspended"),
    )
    row = stage.row("suspended")
    assert (row["state"], row["attempt"]) == ("Pending", 1)
    assert "lastInterruption" not in row, "a pause is none"
    newest = stage.committed("suspended", stage.uid("suspended"))[-1]
    assert newest.iteration >= reported, "SIGTERM saved"
    shown = stage.line("suspended")
    assert (shown["STATE"], shown["RUNNING"]) == ("Suspended", "0")
    stage.change("suspended", suspend=False)
    stage.condition("suspended", "Complete")
    row = stage.row("suspended")
    assert (row["attempt"], row["objectiveValue"]) == (2, undisturbed["objectiveValue"])
    assert row.get("failures", 0) == row.get("disruptions", 0) == row.get("infrastructure", 0) == 0
    stage.told("suspended", f"from the checkpoint of iteration {newest.iteration}")


def test_a_trainer_that_ignores_its_deletion_holds_it_up_for_its_grace_at_most(
    stage: Stage,
) -> None:
    template = unruly_template(grace=2)
    changes = {**slow(1000, 0.2, deaf=True), "stopGracePeriodSeconds": 11}
    stage.apply("stubborn", **{**changes, "trainer": None, "template": template})
    stage.reaches("stubborn", 2)
    start = time.monotonic()
    stage.delete("stubborn")
    stage.gone("stubborn")
    assert time.monotonic() - start < STOP_BOUND


@pytest.fixture(scope="module")
def failed_fast(stage: Stage) -> str:
    """Trial 00000 failed in iteration 3, which ended the experiment; 00001 would run on."""
    changes = slow(1000, 0.4)
    changes["search"]["space"]["fail_at"] = {"gridSearch": [3, 0]}
    stage.apply(
        "failed-fast",
        **{
            **changes,
            "checkpoint": {"frequency": 0, "atEnd": True},
            "failure": {"maxFailures": 0, "failFast": True},
            "trainer": unruly(),
        },
    )
    stage.condition("failed-fast", "Failed", reason="FailFast")
    return "failed-fast"


def test_fail_fast_lets_the_others_finish_their_iteration_without_a_signal(
    stage: Stage, failed_fast: str
) -> None:
    failed, other = stage.row(failed_fast), stage.row(failed_fast, "00001")
    assert (failed["state"], failed["reason"]) == ("Errored", "RuntimeError")
    assert (other["state"], other["reason"]) == ("Terminated", "ExperimentStopped")
    assert "lastInterruption" not in other
    uid = stage.uid(failed_fast)
    record = stage.exit_record(failed_fast, uid, "00001", 1)
    assert (record.outcome, record.signal) == (Outcome.STOPPED, "")
    assert record.directive, "the answer to a report"
    (last,) = stage.committed(failed_fast, uid, "00001")
    assert last.iteration == record.iteration == other["iteration"], "a final checkpoint"
    assert stage.killed(failed_fast) == []
    stage.told(failed_fast, "FailFast", "the last was trial 00000 (RuntimeError)")


def test_the_pod_of_an_errored_trial_stays_to_be_read_until_the_experiment_goes(
    stage: Stage, failed_fast: str
) -> None:
    def only_one() -> str | None:
        pods = stage.pods(failed_fast)
        return pods[0]["metadata"]["name"] if len(pods) == 1 else None

    what = "one Pod is left"
    pod = soon(only_one, what, PATIENCE, lambda: stage.explain(failed_fast))
    assert "RuntimeError: told to fail" in stage.shell.run(*KUBECTL, "logs", pod)
    stage.delete(failed_fast)
    stage.gone(failed_fast)
