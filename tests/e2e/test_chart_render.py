"""The chart as Helm renders it: least privilege, restricted Pods, settings the operator accepts.

Here and not among the unit tests because it needs the helm that comes with the real flavour.
"""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import clusters
from tests.unit.kube.rights import CLUSTER, EXPERIMENTS, NODE_READ, NODE_WATCH, OWN, Rules
from tune_operator.config import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "tune-operator"
CRD = ROOT / "crds" / "tuneoperator.io_tuneexperiments.yaml"
KUBERNETES = "1.35.0"

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]


@pytest.fixture(scope="session")
def helm() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`helm template` of the chart; each argument is one --set."""
    binary = clusters.find("real").bin / "helm"

    def template(*values: str) -> "subprocess.CompletedProcess[str]":
        settings = [f"--set={value}" for value in values]
        where = ["tune-operator", str(CHART), "--namespace=tune-system"]
        return subprocess.run(
            [binary, "template", *where, f"--kube-version={KUBERNETES}", *settings],
            capture_output=True,
            text=True,
            check=False,
        )

    return template


@pytest.fixture(scope="session")
def render(helm: Callable[..., "subprocess.CompletedProcess[str]"]) -> Render:
    """The objects the chart renders with these values."""

    def objects(*values: str) -> Objects:
        done = helm(*values)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return objects


def of_kind(objects: Objects, kind: str) -> Objects:
    return [found for found in objects if found["kind"] == kind]


def rules(role: Mapping[str, Any]) -> Rules:
    """A role as (group, resource, verb, names)."""
    return {
        (group, resource, verb, tuple(rule.get("resourceNames", ())))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_all_namespaces_need_one_cluster_role(render: Render) -> None:
    objects = render()
    assert [rules(role) for role in of_kind(objects, "ClusterRole")] == [
        CLUSTER | NODE_WATCH | EXPERIMENTS
    ]
    assert [rules(role) for role in of_kind(objects, "Role")] == [OWN]


CONFINED = "watchNamespaces={a,b}"


@pytest.mark.parametrize(
    ("values", "cluster", "watch"),
    [
        pytest.param((), CLUSTER | NODE_WATCH | EXPERIMENTS, "true", id="everywhere"),
        pytest.param(
            ("nodes.watch=false",),
            CLUSTER | NODE_READ | EXPERIMENTS,
            "false",
            id="everywhere, looked at when in doubt",
        ),
        pytest.param((CONFINED,), CLUSTER, "false", id="confined"),
        pytest.param(
            (CONFINED, "nodes.clusterRole=true"),
            CLUSTER | NODE_WATCH,
            "true",
            id="confined but for nodes",
        ),
        pytest.param(
            (CONFINED, "nodes.clusterRole=true", "nodes.watch=false"),
            CLUSTER | NODE_READ,
            "false",
            id="confined but for nodes, looked at when in doubt",
        ),
    ],
)
def test_rights_on_nodes_are_those_the_operator_is_told_to_use(
    render: Render, values: tuple[str, ...], cluster: Rules, watch: str
) -> None:
    objects = render(*values)
    (role,) = of_kind(objects, "ClusterRole")
    assert rules(role) == cluster
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "TUNE_NODE_WATCH", "value": watch} in container["env"]


def test_watched_namespaces_get_a_role_each_and_the_cluster_none(render: Render) -> None:
    objects = render(CONFINED)
    assert [rules(role) for role in of_kind(objects, "ClusterRole")] == [CLUSTER]
    roles = {role["metadata"]["namespace"]: rules(role) for role in of_kind(objects, "Role")}
    assert roles == {"a": EXPERIMENTS, "b": EXPERIMENTS, "tune-system": OWN}
    bindings = of_kind(objects, "RoleBinding")
    assert {binding["metadata"]["namespace"] for binding in bindings} == {"a", "b", "tune-system"}
    subjects = [binding["subjects"] for binding in bindings]
    account = {"kind": "ServiceAccount", "name": "tune-operator", "namespace": "tune-system"}
    assert subjects == [[account]] * 3


def test_operator_accepts_the_settings_the_chart_gives(render: Render) -> None:
    (deployment,) = of_kind(render("watchNamespaces={a,b}", "service.port=9443"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    downward = {"TUNE_NAMESPACE": "tune-system", "TUNE_POD_NAME": "tune-operator-x"}
    variables = {
        entry["name"]: entry.get("value", downward.get(entry["name"])) for entry in container["env"]
    }
    settings = Settings.from_environment(variables)
    assert settings.node_watch is False
    assert settings.watch_namespaces == ("a", "b")
    assert settings.service_url == "https://tune-operator.tune-system.svc:9443"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"trainers": settings.listen_port, "metrics": settings.obs_port}


def test_every_pod_is_restricted(render: Render) -> None:
    objects = render("minio.enabled=true")
    kinds = {"Deployment", "StatefulSet", "Job"}
    templates = [found["spec"]["template"] for found in objects if found["kind"] in kinds]
    assert len(templates) == 3
    for template in templates:
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_trainers_reach_the_leader_alone(render: Render) -> None:
    services = {found["metadata"]["name"]: found for found in of_kind(render(), "Service")}
    assert services["tune-operator"]["spec"]["selector"]["tuneoperator.io/leader"] == "true"
    assert "tuneoperator.io/leader" not in services["tune-operator-metrics"]["spec"]["selector"]


def test_crd_is_the_generated_one_and_survives_uninstall(render: Render) -> None:
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    assert crd["spec"] == yaml.safe_load(CRD.read_text())["spec"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert of_kind(render("crds.install=false"), "CustomResourceDefinition") == []


def test_with_given_keys_rendering_is_repeatable(render: Render) -> None:
    values = ("minio.enabled=true", "minio.accessKey=access", "minio.secretKey=secret-key")
    assert render(*values) == render(*values)


def test_existing_secret_replaces_the_chart_s(render: Render) -> None:
    objects = render("minio.enabled=true", "minio.existingSecret=mine")
    assert of_kind(objects, "Secret") == []
    (store,) = of_kind(objects, "StatefulSet")
    (container,) = store["spec"]["template"]["spec"]["containers"]
    sources = [entry["valueFrom"] for entry in container["env"] if "valueFrom" in entry]
    assert {source["secretKeyRef"]["name"] for source in sources} == {"mine"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("minio.enabled=true", "minio.accessKey=only-one"), "set both or neither"),
        (("replica=2",), "'replica' not allowed"),
        (("nodes.watch=get",), "/nodes/watch"),
        (("log.level=debug",), "/log/level"),
        (("watchNamespaces={UPPER}",), "/watchNamespaces/0"),
    ],
    ids=["half of the keys", "unknown value", "no truth value", "wrong level", "no namespace"],
)
def test_wrong_values_are_refused_by_name(
    helm: Callable[..., "subprocess.CompletedProcess[str]"], values: tuple[str, ...], message: str
) -> None:
    done = helm(*values)
    assert done.returncode != 0
    assert message in done.stderr
