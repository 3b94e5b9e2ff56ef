"""Pods that were refused are tried again, although nothing may ever tell us to."""

import pytest

from tune_operator.experiment.outcomes import (
    CONFLICT_SECONDS,
    QUOTA_SECONDS,
    RETRY,
    note,
)
from tune_operator.experiment.run import Run
from tune_operator.kube.errors import Forbidden, Invalid, KubeError, Transient
from tune_operator.kube.outcomes import AlreadyForeign, Created, Done, Failed, QuotaExceeded
from tune_operator.lifecycle.actions import CreatePod, EmitEvent, ReleasePod
from tune_operator.lifecycle.conditions import Finding

CREATE = CreatePod("00000", 1, {})
FOREIGN = AlreadyForeign(CREATE, {"metadata": {"name": "taken"}})


def test_what_a_quota_refused_again_is_looked_at_again() -> None:
    run = Run(("ns", "name"), "uid", {})
    refusal = QuotaExceeded(CREATE, "exceeded quota: one")

    assert note(run, [refusal], now=100.0) == 0.0  # at once: the conditions change
    assert note(run, [refusal], now=200.0) == QUOTA_SECONDS
    assert run.create_after == 200.0 + QUOTA_SECONDS


def test_a_name_that_is_taken_holds_up_its_own_attempt_and_no_other() -> None:
    run = Run(("ns", "name"), "uid", {})

    assert note(run, [FOREIGN], now=100.0) == 0.0  # at once: the conditions change
    assert note(run, [FOREIGN], now=200.0) == CONFLICT_SECONDS
    assert run.taken["00000", 1].until == 200.0 + CONFLICT_SECONDS
    assert run.create_after < 100.0
    assert "Pod taken exists and is not ours" in run.name_conflict


def test_a_created_pod_clears_what_was_noted_of_it() -> None:
    run = Run(("ns", "name"), "uid", {}, quota="a Pod was refused")
    note(run, [FOREIGN], now=0.0)

    other = Created(CreatePod("00001", 1, {}), {"metadata": {}})
    assert note(run, [other], now=0.0) == 0.0
    assert (run.quota, bool(run.name_conflict)) == ("", True)
    assert note(run, [Created(CREATE, {"metadata": {}})], now=0.0) == 0.0
    assert (run.quota, run.name_conflict) == ("", "")


def accepted() -> Run:
    run = Run(("tune", "digits"), "uid", {})
    run.acceptance, run.asked = Finding(ok=True, reason="Valid"), 50.0
    return run


@pytest.mark.parametrize("error", [Forbidden("a policy"), Invalid("a webhook")])
def test_a_pod_that_is_refused_later_is_asked_about_again(error: KubeError) -> None:
    run = accepted()
    assert note(run, [Failed(CREATE, error)], 100.0) == 0.0
    assert (run.acceptance, run.asked) == (Finding(), float("-inf"))
    assert run.create_after == 100.0 + QUOTA_SECONDS


def test_a_lost_answer_says_nothing_about_the_pod() -> None:
    run = accepted()
    assert note(run, [Failed(CREATE, Transient("broken off"))], 100.0) == RETRY.initial
    assert run.acceptance.ok
    assert run.create_after < 100.0


def test_what_fails_again_and_again_is_tried_ever_more_slowly() -> None:
    run = accepted()
    release = Failed(ReleasePod("ns", "name", "uid"), Transient("a webhook is away"))
    told = Done(EmitEvent("Normal", "TrialResumed", ""))  # of another batch of the same look
    pauses = []
    for now in range(8):
        pauses.append(note(run, [release], float(now)))
        note(run, [told], float(now))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    note(run, [Done(release.action)], 9.0)
    assert note(run, [release], 10.0) == RETRY.initial
