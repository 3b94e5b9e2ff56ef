import pytest

from tune_operator.kube.resources import (
    EXPERIMENTS,
    NAMESPACES,
    NODES,
    PODS,
    TOKEN_REVIEWS,
    Resource,
)

EXPERIMENTS_PATH = "/apis/tuneoperator.io/v1alpha1"


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        pytest.param(PODS, None, None, "/api/v1/pods", id="all namespaces"),
        pytest.param(PODS, "tune", None, "/api/v1/namespaces/tune/pods", id="a namespace"),
        pytest.param(PODS, "tune", "a.b", "/api/v1/namespaces/tune/pods/a.b", id="an object"),
        pytest.param(
            EXPERIMENTS,
            "tune",
            "digits",
            f"{EXPERIMENTS_PATH}/namespaces/tune/tuneexperiments/digits",
            id="of a group",
        ),
        pytest.param(NAMESPACES, None, "tune", "/api/v1/namespaces/tune", id="cluster-scoped"),
        pytest.param(NODES, None, "a.b", "/api/v1/nodes/a.b", id="a node"),
        pytest.param(
            TOKEN_REVIEWS, None, None, "/apis/authentication.k8s.io/v1/tokenreviews", id="review"
        ),
    ],
)
def test_path(resource: Resource, namespace: str | None, name: str | None, path: str) -> None:
    assert resource.path(namespace, name) == path


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../secrets", "a?b", "a%2fb", "a#b", "ä"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a Kubernetes object"):
        PODS.path("tune", name)
    with pytest.raises(ValueError, match="no name of a Kubernetes object"):
        PODS.path(name, "a")


def test_api_version() -> None:
    assert PODS.api_version == "v1"
    assert EXPERIMENTS.api_version == "tuneoperator.io/v1alpha1"
