"""What outcomes of actions leave on the run."""

import pytest

from tune_operator.experiment.outcomes import QUOTA_SECONDS, RETRY_SECONDS, note
from tune_operator.experiment.run import Run
from tune_operator.kube.errors import Forbidden, Invalid, KubeError, Transient
from tune_operator.kube.outcomes import Failed, QuotaExceeded
from tune_operator.lifecycle.actions import CreatePod
from tune_operator.lifecycle.conditions import Finding

CREATE = CreatePod("00000", 1, {})


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
    assert note(run, [Failed(CREATE, Transient("broken off"))], 100.0) == RETRY_SECONDS
    assert run.acceptance.ok
    assert run.create_after < 100.0


def test_a_quota_is_told_once_and_waited_for() -> None:
    run = accepted()
    refused = [QuotaExceeded(CREATE, "exceeded quota: pods")]
    assert note(run, refused, 100.0) == 0.0
    assert note(run, refused, 120.0) is None
    assert run.create_after == 120.0 + QUOTA_SECONDS
