"""Experiments that only lie in the API server: their store refuses connections.

So an operator that happens to watch starts no Pod for them.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.unit.api.objects import good
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, Invalid, NotFound
from tune_operator.kube.resources import EXPERIMENTS

NOWHERE = "http://127.0.0.1:1"


@contextlib.asynccontextmanager
async def stored_experiment(
    kube: Kube, namespace: str, **changes: Any
) -> AsyncIterator[dict[str, Any]]:
    """A good specification with these changes, deleted afterwards."""
    spec = good(storage__endpoint=NOWHERE, **changes)
    body = {"metadata": {"name": "stored"}, "spec": spec}
    made = await kube.create(EXPERIMENTS, namespace, body)
    try:
        yield made
    finally:
        await _remove(kube, namespace, made["metadata"]["uid"])


async def _remove(kube: Kube, namespace: str, uid: str) -> None:
    """Also when an operator that put its finalizer there is not running any more."""
    with contextlib.suppress(NotFound, Conflict, Invalid):
        await kube.delete(EXPERIMENTS, namespace, "stored", uid=uid)
        patch = [{"op": "remove", "path": "/metadata/finalizers"}]
        await kube.json_patch(EXPERIMENTS, namespace, "stored", patch)
