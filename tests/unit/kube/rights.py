"""What the operator may do, in one table: the chart grants these rights, the code uses these (P11).

`test_rights.py` holds the code to it and `tests/e2e/test_chart_render.py` the chart.
"""

Rules = set[tuple[str, str, str, tuple[str, ...]]]
"""(group, resource with subresource, verb, names if it is for some objects only)."""


def expand(group: str, resource: str, verbs: str, *names: str) -> Rules:
    """One line of the table."""
    return {(group, resource, verb, names) for verb in verbs.split()}


EXPERIMENTS = (
    expand("tuneoperator.io", "tuneexperiments", "get list watch patch")
    | expand("tuneoperator.io", "tuneexperiments/status", "update")
    | expand("tuneoperator.io", "tuneexperiments/finalizers", "update")
    | expand("", "pods", "get list watch create patch delete")
    | expand("", "events", "create")
)
"""In every namespace with experiments."""

CLUSTER = expand("authentication.k8s.io", "tokenreviews", "create") | expand(
    "", "namespaces", "get", "kube-system"
)
"""What cannot be granted in a namespace and cannot be done without."""

NODE_READ = expand("", "nodes", "get")
NODE_WATCH = expand("", "nodes", "get list watch")
"""What cannot be granted in a namespace and can be done without."""

OWN = (
    expand("coordination.k8s.io", "leases", "create")
    | expand("coordination.k8s.io", "leases", "get update", "tune-operator")
    | expand("", "secrets", "create")
    | expand("", "secrets", "get", "tune-operator-ca")
    | expand("", "pods", "get list patch")
)
"""In its own namespace."""

TENANT = expand("", "secrets", "get")
"""What each tenant grants by a Role of their own: the Secret with the keys of their store."""
