"""Real training on real Pods: what an interruption costs, and what it must not change."""

import json
from typing import Any

import pytest

from dev.demo.errors import StepFailed
from dev.demo.target import NAMESPACE, SYSTEM_NAMESPACE
from tests.e2e.stage import KUBECTL, Stage
from tests.e2e.workload import slow, unruly

pytestmark = pytest.mark.timeout(180)


def test_an_evicted_trial_ends_like_an_undisturbed_one(
    stage: Stage, undisturbed: dict[str, Any]
) -> None:
    stage.apply("evicted", **{**slow(16, 0, first_pace=1), "trainer": unruly()})
    stage.reaches("evicted", 6)
    pod = stage.pod("evicted", "00000")
    stage.evict(pod)
    stage.condition("evicted", "Complete")
    row = stage.row("evicted")
    why = row["lastInterruption"]
    assert (why["class"], why["reason"], why["exitCode"]) == (
        "preempted",
        "EvictionByEvictionAPI",
        0,
    )
    assert (row["attempt"], row["iteration"]) == (2, 16)
    assert row["objectiveValue"] == undisturbed["objectiveValue"]
    uid = stage.get("evicted")["metadata"]["uid"]
    first = [ref.iteration for ref in stage.committed("evicted", uid) if ref.attempt == 1]
    second = [ref.iteration for ref in stage.committed("evicted", uid) if ref.attempt == 2]
    assert max(first) >= 6, "SIGTERM saved"
    assert min(second) > max(first), "the second attempt went on where the first had saved"


def test_exit_code_0_after_sigterm_is_a_preemption_and_no_success(stage: Stage) -> None:
    stage.apply("succeeded", **slow(60, 0.2))
    stage.reaches("succeeded", 2)
    pod = stage.pod("succeeded", "00000")
    with stage.sees(pod, ".status.phase", "Succeeded"):
        stage.evict(pod)
        row = stage.attempt("succeeded", 2)
    assert (row["state"], row["disruptions"], row.get("failures", 0)) == ("Running", 1, 0)
    assert stage.get("succeeded")["status"]["done"] == "0/1"
    stage.shell.run(*KUBECTL, "delete", "tx", "succeeded")


def test_a_killed_trainer_comes_back_at_its_last_periodic_checkpoint(stage: Stage) -> None:
    stage.apply("killed", **{**slow(13, 0, first_pace=1), "trainer": unruly()})
    pod = stage.pod("killed", "00000")
    stage.reaches("killed", 7)
    stage.sigkill(NAMESPACE, pod, "trainer")
    stage.condition("killed", "Complete")
    row = stage.row("killed")
    assert (row["failures"], row.get("disruptions", 0), row["attempt"]) == (1, 0, 2)
    assert (row["lastInterruption"]["row"], row["lastInterruption"]["exitCode"]) == (16, 137)
    obj = stage.get("killed")
    committed = stage.committed("killed", obj["metadata"]["uid"])
    last = max(ref.iteration for ref in committed if ref.attempt == 1)
    assert last % 5 == 0, "nothing was saved at the kill itself"
    assert obj["status"]["lostIterations"] == row["lastInterruption"]["iteration"] - last
    assert min(ref.iteration for ref in committed if ref.attempt == 2) > last


def test_sigkill_of_the_operator_changes_nothing(stage: Stage) -> None:
    stage.apply("unshaken", **slow(25, 0.4))
    stage.reaches("unshaken", 3)
    system = ("kubectl", "--namespace", SYSTEM_NAMESPACE)
    selector = "--selector=tuneoperator.io/leader=true"
    (leader,) = stage.shell.json(*system, "get", "pods", selector, "--output=json")["items"]
    (container,) = leader["spec"]["containers"]
    stage.sigkill(SYSTEM_NAMESPACE, leader["metadata"]["name"], container["name"])
    stage.condition("unshaken", "Complete")
    row = stage.row("unshaken")
    assert (row["attempt"], row["iteration"]) == (1, 25)
    assert row.get("failures", 0) == row.get("disruptions", 0) == row.get("infrastructure", 0) == 0


def test_delete_in_the_middle_leaves_checkpoints_and_nothing_else(stage: Stage) -> None:
    stage.apply("deleted", **slow(200, 0.2, trials=2))
    stage.reaches("deleted", 6)
    uid = stage.get("deleted")["metadata"]["uid"]
    reported = stage.row("deleted")["iteration"]
    stage.shell.run(*KUBECTL, "delete", "tx", "deleted", "--timeout=90s")
    stage.gone("deleted")
    assert stage.committed("deleted", uid)[-1].iteration >= reported, "SIGTERM saved"


def test_a_typo_is_refused_by_kubectl_apply(stage: Stage) -> None:
    with pytest.raises(StepFailed, match=r'unknown field "spec\.maxConcurentTrials"'):
        stage.apply("typo", maxConcurentTrials=3)


@pytest.mark.parametrize(
    ("name", "changes", "kind", "words"),
    [
        (
            "no-module",
            {"trainer": {"image": "dev.local/digits:dev", "entrypoint": "digitz:Digits"}},
            "Failed",
            ("EntrypointError", "digitz"),
        ),
        (
            "no-metric",
            {"objective": {"metric": "accuracy", "mode": "max"}},
            "Failed",
            ("MetricMissing", "accuracy", "mean_accuracy"),
        ),
        (
            "no-image",
            {"trainer": {"image": "dev.local/none:dev", "entrypoint": "digits:Digits"}},
            "Stalled",
            ("dev.local/none:dev",),
        ),
    ],
)
def test_what_is_wrong_in_the_pod_is_said_in_a_condition(
    stage: Stage, name: str, changes: dict[str, Any], kind: str, words: tuple[str, ...]
) -> None:
    stage.apply(name, **{**slow(3, 0.0), "failure": {"maxFailures": 0}, **changes})
    message = json.dumps(stage.condition(name, kind))
    described = stage.shell.run(*KUBECTL, "describe", "tx", name)
    for word in words:
        assert word in message
        assert word in described
    stage.shell.run(*KUBECTL, "delete", "tx", name, "--timeout=60s")
    stage.gone(name)


def test_kubectl_get_shows_what_matters(stage: Stage) -> None:
    stage.apply("shown", **slow(2, 0.0))
    stage.condition("shown", "Complete")
    header, line = stage.shell.run(*KUBECTL, "get", "tx", "shown").splitlines()
    assert header.split() == [
        *("NAME", "STATE", "DONE", "RUNNING", "FAILURES", "DISRUPTIONS", "BEST", "AGE")
    ]
    assert line.split()[1:6] == ["Complete", "1/1", "0", "0", "0"]
    assert 0 < float(line.split()[6]) <= 1
