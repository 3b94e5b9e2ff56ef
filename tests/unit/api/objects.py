"""A good specification, and a way to make it bad in one place."""

from __future__ import annotations

import copy
from typing import Any

GOOD: dict[str, Any] = {
    "objective": {"metric": "mean_accuracy", "mode": "max"},
    "numSamples": 8,
    "maxConcurrentTrials": 2,
    "search": {
        "space": {
            "lr": {"loguniform": {"lower": 0.0001, "upper": 0.1}},
            "layers": {"randint": {"lower": 1, "upper": 5}},
            "act": {"choice": ["relu", "tanh"]},
        }
    },
    "stop": {"criteria": {"training_iteration": 30}},
    "checkpoint": {"frequency": 5, "atEnd": True},
    "failure": {"maxFailures": 3},
    "storage": {
        "uri": "s3://tune/team-a",
        "endpoint": "https://minio.storage.svc:9000",
        "credentials": {"mode": "Secret", "secretRef": {"name": "digits-storage"}},
    },
    "trainer": {"image": "ghcr.io/example/tune-trainer:1", "entrypoint": "digits:Digits"},
}

REMOVED = object()
"""As a value: take the field out."""


def good(**changes: Any) -> dict[str, Any]:
    """A good specification. ``search__space__lr={...}`` sets ``search.space.lr``."""
    spec = copy.deepcopy(GOOD)
    for place, value in changes.items():
        *outer, last = place.split("__")
        parent = spec
        for name in outer:
            parent = parent.setdefault(name, {})
        if value is REMOVED:
            del parent[last]
        else:
            parent[last] = value
    return spec


def space(**dimensions: Any) -> dict[str, Any]:
    """A good specification with this search space."""
    return good(search={"space": dimensions})


def template(**changes: Any) -> dict[str, Any]:
    """A good specification with a Pod template, whose ``spec`` takes the changes."""
    spec = {"containers": [{"name": "trainer", "image": "ghcr.io/example/own:1"}], **changes}
    return good(trainer=REMOVED, template={"spec": spec})


def labelled(**metadata: Any) -> dict[str, Any]:
    """A good specification with a Pod template that has this metadata."""
    spec = template()
    spec["template"]["metadata"] = metadata
    return spec
