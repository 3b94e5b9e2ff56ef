"""Where the Pod of an attempt runs and for how long it may be cut off there: merged, never doubled.

What the template says of the same thing stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

UNREACHABLE = "node.kubernetes.io/unreachable"
NOT_READY = "node.kubernetes.io/not-ready"
NO_EXECUTE = "NoExecute"

MAX_AVOIDED = 3
"""More would leave a small cluster no choice, and say little of any single node."""

AVOID_WEIGHT = 100
"""The largest there is: as much as the strongest wish of a template."""


def tolerations(given: Sequence[Mapping[str, Any]], seconds: int) -> list[dict[str, Any]]:
    """``given``, and ours for a node that is cut off for ``seconds``, unless it says so itself.

    By the rule with which Kubernetes would add its own 300 seconds otherwise: a toleration of the
    key, or of all keys, that is about NoExecute or all effects.
    """
    ours = [
        {
            "key": key,
            "operator": "Exists",
            "effect": NO_EXECUTE,
            "tolerationSeconds": seconds,
        }
        for key in (NOT_READY, UNREACHABLE)
        if not any(_covers(toleration, key) for toleration in given)
    ]
    return [*(dict(toleration) for toleration in given), *ours]


def _covers(toleration: Mapping[str, Any], key: str) -> bool:
    every_or = (None, "")
    return toleration.get("key") in (*every_or, key) and toleration.get("effect") in (
        *every_or,
        NO_EXECUTE,
    )


def affinity(given: Mapping[str, Any] | None, avoid: Sequence[str]) -> dict[str, Any]:
    """``given``, and the preference for any node that is none of ``avoid`` (the latest last).

    One term, because the scheduler adds up terms: with one per node a node that is avoided would
    still get the weight of all others. A field takes one value, so there is a demand per node.
    """
    merged = dict(given or {})
    nodes = list(dict.fromkeys(avoid))[-MAX_AVOIDED:]
    if nodes:
        node = dict(merged.get("nodeAffinity") or {})
        kind = "preferredDuringSchedulingIgnoredDuringExecution"
        node[kind] = [*(node.get(kind) or []), {"weight": AVOID_WEIGHT, "preference": _not(nodes)}]
        merged["nodeAffinity"] = node
    return merged


def _not(nodes: Sequence[str]) -> dict[str, Any]:
    return {
        "matchFields": [
            {"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in nodes
        ]
    }
