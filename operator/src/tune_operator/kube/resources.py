"""The kinds the operator talks about, and where the API server serves them."""

from dataclasses import dataclass
from urllib.parse import quote

from tune_operator.api.constants import GROUP, KIND, PLURAL, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """One served kind. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of a collection, or of an object; without a namespace: of all namespaces.

        Raises ValueError for a name or namespace that could lead the path elsewhere. Some of them
        come from tenants, and an empty name would turn an object into its whole collection.
        """
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name is not None:
            parts.append(_segment(name))
        return "/".join(parts)


def _segment(text: str) -> str:
    if text in ("", ".", "..") or quote(text, safe=":") != text:
        raise ValueError(f"{text!r} is no name of a Kubernetes object")
    return text


PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
EVENTS = Resource("", "v1", "events", "Event")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
TOKEN_REVIEWS = Resource(
    "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False
)
EXPERIMENTS = Resource(GROUP, VERSION, PLURAL, KIND)
