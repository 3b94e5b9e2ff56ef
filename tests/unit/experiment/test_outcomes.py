"""Pods that were refused are tried again, although nothing may ever tell us to."""

import pytest

from tune_operator.experiment.outcomes import CONFLICT_SECONDS, QUOTA_SECONDS, note
from tune_operator.experiment.run import Run
from tune_operator.kube.outcomes import AlreadyForeign, Created, QuotaExceeded
from tune_operator.lifecycle.actions import CreatePod

CREATE = CreatePod("00000", 1, {})
REFUSALS = {
    "quota": (QuotaExceeded(CREATE, "exceeded quota: one"), QUOTA_SECONDS),
    "foreign Pod": (AlreadyForeign(CREATE, {"metadata": {"name": "taken"}}), CONFLICT_SECONDS),
}


@pytest.mark.parametrize(("refusal", "pause"), REFUSALS.values(), ids=REFUSALS.keys())
def test_the_same_refusal_again_is_looked_at_again(
    refusal: QuotaExceeded | AlreadyForeign, pause: float
) -> None:
    run = Run(("ns", "name"), "uid", {})

    assert note(run, [refusal], now=100.0) == 0.0  # at once: the conditions change
    assert note(run, [refusal], now=200.0) == pause
    assert run.create_after == 200.0 + pause


def test_a_created_pod_clears_what_was_noted() -> None:
    run = Run(("ns", "name"), "uid", {}, quota="a Pod was refused", name_conflict="taken")

    assert note(run, [Created(CREATE, {"metadata": {}})], now=0.0) == 0.0
    assert (run.quota, run.name_conflict) == ("", "")
