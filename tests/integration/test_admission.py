"""An admission webhook for Pods that is down: nothing starts, what runs is heard and settled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.lab import Lab
from tests.integration.test_operator_restart import restart
from tune_operator.kube.errors import Transient
from tune_operator.kube.resources import PODS, Resource

WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)


@asynccontextmanager
async def nobody_admits_pods(lab: Lab) -> AsyncIterator[None]:
    """The webhook that must agree to every Pod of the namespace does not answer."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    hook = {
        "name": "pods.tests.tuneoperator.io",
        "clientConfig": {"url": "https://127.0.0.1:9/admit"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 1,
    }
    body = {"metadata": {"name": f"down-{lab.namespace}"}, "webhooks": [hook]}
    made = await lab.kube.create(WEBHOOKS, None, body)
    try:
        await lab.until(lambda: _answers(lab, admitted=False), "no Pod is admitted", "any")
        yield
    finally:
        meta = made["metadata"]
        await lab.kube.delete(WEBHOOKS, None, meta["name"], uid=meta["uid"])
        await lab.until(lambda: _answers(lab, admitted=True), "Pods are admitted again", "any")


async def _answers(lab: Lab, *, admitted: bool) -> bool:
    """Whether a Pod would be taken, or would not, as the webhook's configuration is told."""
    spec = {"containers": [{"name": "main", "image": "dev.local/played:1"}]}
    body = {"metadata": {"name": "asked", "namespace": lab.namespace}, "spec": spec}
    try:
        await lab.kube.create(PODS, lab.namespace, body, dry_run=True)
    except Transient:
        return not admitted
    return admitted


def has_failed(pod: dict[str, Any]) -> bool:
    return bool(pod["status"].get("phase") == "Failed")


async def test_what_runs_is_heard_and_settled_and_a_deleted_pod_waits_for_its_reason(
    lab: Lab,
) -> None:
    lab.patience = 60  # who is not answered asks again after up to 36 s
    await lab.apply("guarded", numSamples=2, maxConcurrentTrials=2)
    deleted, failed = [await lab.player("guarded", trial, 1) for trial in ("00000", "00001")]
    await deleted.annotate({"tune.dev/exit-on-delete": "1"})
    async with nobody_admits_pods(lab):
        await restart(lab)
        await deleted.train(2)
        await lab.trial("guarded", "00000", lambda row: row.get("iteration") == 2)
        await deleted.save()
        await lab.delete_pod(deleted.pod)
        await lab.pod("guarded", "00000", 1, has_failed)
        await failed.exit(1)
        await lab.trial("guarded", "00001", lambda row: row.get("failures") == 1)
        status = (await lab.get("guarded"))["status"]
        assert (status["disruptions"], list(status["live"])) == (0, ["00000"])
    row = await lab.trial("guarded", "00000", lambda row: row["attempt"] == 2)
    assert (row["disruptions"], row.get("failures", 0)) == (1, 0)
    for trial, iteration in (("00000", 2), ("00001", 0)):
        player = await lab.player("guarded", trial, 2)
        assert player.iteration == iteration
        await player.train(1)
        await player.complete()
    await lab.condition("guarded", "Complete", "True")
