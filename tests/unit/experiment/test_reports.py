"""Who is sent away for good, and who is told to ask again: the first answer ends a trainer."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from kubernetes.aio.client import Configuration

from tests.unit.api.objects import good
from tune_operator.api.constants import (
    LABEL_ATTEMPT,
    LABEL_EXPERIMENT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
    POD_FINALIZER,
)
from tune_operator.experiment.accepted import Accepted, accept, parse
from tune_operator.experiment.claim import Claim
from tune_operator.experiment.journal import Journal
from tune_operator.experiment.reports import Reports
from tune_operator.experiment.run import Run
from tune_operator.kube.client import Kube
from tune_operator.kube.informer import Informer
from tune_operator.kube.resources import PODS
from tune_operator.lifecycle import pod_view
from tune_operator.lifecycle.trial_state import Phase, RunState, TrialState
from tune_operator.obs.metrics import Metrics
from tune_operator.reports.identity import PodIdentity
from tune_operator.reports.sink import NotReady, Outdated
from tune_operator.runtime.clock import SystemClock
from tune_trainer.protocol.keys import RunKeys
from tune_trainer.protocol.messages import ResultsRequest, SessionRequest

UID = "experiment-uid"
POD = PodIdentity("team", "pod", "pod-uid")


def trial(attempt: int, **fields: Any) -> TrialState:
    return TrialState(name="00000", phase=Phase.RUNNING, attempt=attempt, open=True, **fields)


def pod(name: str, attempt: int, *finalizers: str) -> dict[str, Any]:
    labels = {
        LABEL_EXPERIMENT: "digits",
        LABEL_EXPERIMENT_UID: UID,
        LABEL_TRIAL: name,
        LABEL_ATTEMPT: str(attempt),
    }
    meta = {"namespace": POD.namespace, "name": POD.name, "uid": POD.uid, "labels": labels}
    containers = [{"name": "trainer", "image": "any"}]
    return {
        "metadata": {**meta, "resourceVersion": "1", "finalizers": [*finalizers]},
        "spec": {"containers": containers, "nodeName": "node"},
        "status": {"phase": "Running"},
    }


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    """Nobody is asked: what a report needs of the API server is in the view of the Pods."""
    client = Kube(Configuration())
    yield client
    await client.close()


def reports(
    kube: Kube, known: TrialState, reporting: dict[str, Any],
    accepted: Accepted | None = None, spec: Mapping[str, Any] | None = None,
) -> Reports:  # fmt: skip
    """An operator whose journal has one trial, before it heard of anybody who came after it."""
    pods = Informer(kube, PODS, (), "", pod_view.project, lambda _view: None)
    pods.observe(reporting)
    keys = RunKeys.of("", "team", "digits", UID)
    journal = Journal(keys, Claim(1, "a"), RunState(trials=(known,)), empty=False)
    obj = {"spec": spec or {}}
    run = Run(
        ("team", "digits"), UID, obj, accepted=accepted or cast(Accepted, object()), journal=journal
    )
    return Reports(kube, pods, {UID: run}, lambda _key, _wait: None, SystemClock(), Metrics())


@pytest.mark.parametrize(
    ("known", "reporting", "answer"),
    [
        (trial(2, pod_uid="another"), pod("00000", 1), Outdated),
        (trial(1, pod_uid="another"), pod("00000", 1), Outdated),
        (trial(1, pod_uid="another"), pod("00000", 2), NotReady),
        (trial(1, pod_uid="another"), pod("00007", 1), NotReady),
    ],
    ids=[
        "an attempt that was replaced",
        "a second Pod of the attempt",
        "a later attempt than we know of: we were replaced, not the trainer",
        "a trial that we do not know of",
    ],
)
async def test_only_who_was_replaced_is_sent_away(
    kube: Kube, known: TrialState, reporting: dict[str, Any], answer: type[Exception]
) -> None:
    sink = reports(kube, known, reporting)
    name = reporting["metadata"]["labels"][LABEL_TRIAL]
    attempt = int(reporting["metadata"]["labels"][LABEL_ATTEMPT])
    with pytest.raises(answer):
        await sink.session(POD, SessionRequest(name, attempt))
    with pytest.raises(answer):
        await sink.results(POD, ResultsRequest(attempt, ()))


@pytest.mark.parametrize(
    ("finalizers", "answer"),
    [((POD_FINALIZER,), NotReady), ((), Outdated)],
    ids=["a run that is not open yet", "a zombie of an experiment that is gone"],
)
async def test_without_its_run_only_who_was_let_go_is_sent_away(
    kube: Kube, finalizers: tuple[str, ...], answer: type[Exception]
) -> None:
    sink = replace(reports(kube, trial(1), pod("00000", 1, *finalizers)), runs={})
    with pytest.raises(answer):
        await sink.session(POD, SessionRequest("00000", 1))
    with pytest.raises(answer):
        await sink.results(POD, ResultsRequest(1, ()))


async def test_a_body_that_names_another_attempt_than_the_pod_is_refused(kube: Kube) -> None:
    sink = reports(kube, trial(1, pod_uid=POD.uid), pod("00000", 1))
    with pytest.raises(Outdated):
        await sink.session(POD, SessionRequest("00000", 2))


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({}, (0, 0, False, True)),
        (
            {"frequency": 5, "maxLostSeconds": 300, "atEnd": True, "onPreemption": False},
            (5, 300, True, False),
        ),
    ],
    ids=["defaults", "all of it"],
)
async def test_a_session_says_when_to_save(
    kube: Kube, asked: dict[str, Any], answered: tuple[int, int, bool, bool]
) -> None:
    spec = good(checkpoint=asked, search__seed=7)
    meta = {"namespace": "team", "name": "digits", "uid": UID, "generation": 1}
    accepted = accept(parse({"metadata": meta, "spec": spec}), spec)
    sink = reports(kube, trial(1, pod_uid=POD.uid), pod("00000", 1), accepted, spec)
    session = await sink.session(POD, SessionRequest("00000", 1))
    assert answered == (
        session.frequency, session.max_lost_seconds, session.at_end, session.on_preemption,
    )  # fmt: skip
