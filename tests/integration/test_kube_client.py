"""The client against a real API server: what each refusal looks like, and that login works."""

import base64
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes.aio.client import Configuration

from tests.clusters import Cluster
from tests.integration.link import ACCOUNTS, account_ready, attempt_pod, linked
from tests.polling import eventually
from tune_operator.kube import client, credentials, errors
from tune_operator.kube.client import Kube
from tune_operator.kube.resources import (
    EXPERIMENTS,
    LEASES,
    NAMESPACES,
    PODS,
    SECRETS,
    Resource,
)

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")


def secret(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "stringData": data}


async def test_missing_object(kube: Kube, namespace: str) -> None:
    with pytest.raises(errors.NotFound) as raised:
        await kube.get(SECRETS, namespace, "nothing")
    assert raised.value.reason == "NotFound"
    assert str(raised.value).startswith(f"get secrets {namespace}/nothing: ")


async def test_taken_name(kube: Kube, namespace: str) -> None:
    await kube.create(SECRETS, namespace, secret(namespace, "a"))
    with pytest.raises(errors.AlreadyExists):
        await kube.create(SECRETS, namespace, secret(namespace, "a"))


async def test_stale_resource_version(kube: Kube, namespace: str) -> None:
    body = {"metadata": {"namespace": namespace, "name": "a"}, "spec": {"holderIdentity": "x"}}
    first = await kube.create(LEASES, namespace, body)
    second = await kube.replace(LEASES, {**first, "spec": {"holderIdentity": "y"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    with pytest.raises(errors.Conflict):
        await kube.replace(LEASES, {**first, "spec": {"holderIdentity": "z"}})


async def test_delete_of_another_uid(kube: Kube, namespace: str) -> None:
    made = await kube.create(SECRETS, namespace, secret(namespace, "a"))
    with pytest.raises(errors.Conflict):
        await kube.delete(SECRETS, namespace, "a", uid="00000000-0000-0000-0000-000000000000")
    await kube.delete(SECRETS, namespace, "a", uid=made["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await kube.get(SECRETS, namespace, "a")


async def test_failed_test_of_a_patch_changes_nothing(kube: Kube, namespace: str) -> None:
    made = await kube.create(SECRETS, namespace, secret(namespace, "a"))
    change = {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}
    right = {"op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"]}
    wrong = {**right, "value": "another"}
    with pytest.raises(errors.Invalid):
        await kube.json_patch(SECRETS, namespace, "a", [wrong, change])
    assert "labels" not in (await kube.get(SECRETS, namespace, "a"))["metadata"]
    patched = await kube.json_patch(SECRETS, namespace, "a", [right, change])
    assert patched["metadata"]["labels"] == {"x": "y"}


@pytest.mark.parametrize("guard", ["uid", "resourceVersion"])
async def test_status_of_another_object_is_not_written(
    kube: Kube, namespace: str, guard: str
) -> None:
    body = yaml.safe_load(EXPERIMENT)
    made = await kube.create(EXPERIMENTS, namespace, body)
    wrong = "1" if guard == "resourceVersion" else "00000000-0000-0000-0000-000000000000"
    stale = {**made, "metadata": {**made["metadata"], guard: wrong}, "status": {"state": "X"}}
    with pytest.raises(errors.Conflict):
        await kube.replace_status(EXPERIMENTS, stale)
    written = await kube.replace_status(EXPERIMENTS, {**made, "status": {"state": "Running"}})
    assert written["status"] == {"state": "Running"}


async def test_dry_run_names_the_field_and_stores_nothing(kube: Kube, namespace: str) -> None:
    await account_ready(kube, namespace)
    pod = attempt_pod(namespace, "a", {})
    typo = {**pod, "spec": {**pod["spec"], "nodeSelektor": {}}}
    with pytest.raises(errors.Invalid, match=r'unknown field "spec.nodeSelektor"'):
        await kube.create(PODS, namespace, typo, dry_run=True)
    empty = {**pod, "spec": {"containers": []}}
    with pytest.raises(errors.Invalid) as raised:
        await kube.create(PODS, namespace, empty, dry_run=True)
    assert [cause.field for cause in raised.value.causes] == ["spec.containers"]
    await kube.create(PODS, namespace, pod, dry_run=True)
    assert (await kube.list(PODS, namespace))[0] == []


async def test_used_up_quota(kube: Kube, namespace: str) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/secrets": "0"}}}
    await kube.create(QUOTAS, namespace, quota)

    async def refused() -> errors.Forbidden | None:
        try:
            await kube.create(SECRETS, namespace, secret(namespace, "a"), dry_run=True)
        except errors.Forbidden as error:
            return error if error.exceeded_quota else None
        return None

    async def explain() -> str:
        return str(await kube.get(QUOTAS, namespace, "none"))

    error = await eventually(refused, "the quota holds", 20, explain)
    assert not error.namespace_terminating


async def test_namespace_that_goes_away(kube: Kube, namespace: str) -> None:
    made = await kube.get(NAMESPACES, None, namespace)
    held = secret(namespace, "held")
    held["metadata"]["finalizers"] = ["tuneoperator.io/test"]
    await kube.create(SECRETS, namespace, held)
    await kube.delete(NAMESPACES, None, namespace, uid=made["metadata"]["uid"])
    with pytest.raises(errors.Forbidden) as raised:
        await kube.create(SECRETS, namespace, secret(namespace, "a"))
    assert raised.value.namespace_terminating
    assert not raised.value.exceeded_quota
    free = [{"op": "remove", "path": "/metadata/finalizers"}]
    await kube.json_patch(SECRETS, namespace, "held", free)


async def test_list_in_pages(kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 2)
    for name in "abcde":
        body = secret(namespace, name)
        body["metadata"]["labels"] = {"wanted": "no" if name == "c" else "yes"}
        await kube.create(SECRETS, namespace, body)
    items, version = await kube.list(SECRETS, namespace, label_selector="wanted=yes")
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "d", "e"]
    assert int(version) >= max(int(item["metadata"]["resourceVersion"]) for item in items)


async def test_watch_tells_everything_until_its_normal_end(kube: Kube, namespace: str) -> None:
    _, version = await kube.list(SECRETS, namespace)
    made = await kube.create(SECRETS, namespace, secret(namespace, "a"))
    await kube.replace(SECRETS, {**made, "stringData": {"x": "y"}})
    await kube.delete(SECRETS, namespace, "a", uid=made["metadata"]["uid"])
    async with linked(watch_seconds=1.0) as (_, watching):
        events = [
            (kind, item["metadata"].get("name", ""))
            async for kind, item in watching.watch(SECRETS, namespace, version)
        ]
    assert events[:3] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert {kind for kind, _ in events[3:]} <= {"BOOKMARK"}


async def test_login_by_service_account_survives_the_rotation_of_its_token(
    kube: Kube, namespace: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = kubeconfig(cluster)["clusters"][0]["cluster"]
    address = urlsplit(known["server"])
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(known["certificate-authority-data"]))
    (tmp_path / "token").write_text("no longer valid")
    configuration = Configuration()
    await credentials.load(configuration, tmp_path)
    inside = Kube(configuration, renew=partial(credentials.load, service_account=tmp_path))
    try:
        with pytest.raises(errors.Unauthorized):
            await inside.list(SECRETS, namespace)
        (tmp_path / "token").write_text(await token(kube, namespace, "operator"))
        # RBAC's refusal names who asked: the login was accepted.
        with pytest.raises(
            errors.Forbidden, match=f"serviceaccount:{namespace}:operator"
        ) as raised:
            await inside.list(SECRETS, namespace)
        assert not raised.value.exceeded_quota
    finally:
        await inside.close()


async def token(kube: Kube, namespace: str, account: str) -> str:
    """A token of a new service account."""
    await kube.create(ACCOUNTS, namespace, {"metadata": {"name": account}})
    tokens = Resource("", "v1", f"serviceaccounts/{account}/token", "TokenRequest")
    request = {"apiVersion": "authentication.k8s.io/v1", "spec": {}}
    status = (await kube.create(tokens, namespace, request))["status"]
    return str(status["token"])


def kubeconfig(cluster: Cluster) -> dict[str, Any]:
    known: dict[str, Any] = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    return known


async def test_wrong_credentials(cluster: Cluster, namespace: str) -> None:
    async def keep(configuration: Configuration) -> None:
        """Nothing to renew."""

    configuration = Configuration()
    await credentials.load(configuration)
    configuration.cert_file = configuration.key_file = None
    configuration.api_key["BearerToken"] = "bearer nonsense"
    nobody = Kube(configuration, renew=keep)
    with pytest.raises(errors.Unauthorized):
        await nobody.get(SECRETS, namespace, "a")
    await nobody.close()


async def test_cut_connections_are_transient_and_reads_recover(kube: Kube, namespace: str) -> None:
    await kube.create(SECRETS, namespace, secret(namespace, "a"))
    async with linked(request_seconds=1.0) as (link, cut_off):
        await cut_off.get(SECRETS, namespace, "a")
        link.cut()
        await cut_off.get(SECRETS, namespace, "a")
        assert link.connections == 2
        link.silence()
        with pytest.raises(errors.Transient, match="no answer in time"):
            await cut_off.create(SECRETS, namespace, secret(namespace, "b"))
        link.restore()
        await cut_off.get(SECRETS, namespace, "a")


EXPERIMENT = """
metadata: {name: digits}
spec:
  objective: {metric: loss, mode: min}
  numSamples: 1
  maxConcurrentTrials: 1
  search: {space: {lr: {uniform: {lower: 0, upper: 1}}}}
  stop: {criteria: {training_iteration: 1}}
  storage:
    uri: s3://tune/nowhere
    endpoint: http://127.0.0.1:1
    credentials: {mode: Secret, secretRef: {name: storage}}
  trainer: {image: "dev.local/played:1", entrypoint: "a:B"}
"""
