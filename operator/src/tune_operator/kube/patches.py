"""JSON patches on finalizers, built from an object just read. Pure.

A list can only be addressed by index, and other controllers change it too: every patch tests that
the index still holds what was read there. A `test` that fails makes the whole patch Invalid (422).
"""

from collections.abc import Mapping
from typing import Any

from tune_operator.kube.transport import Object

Patch = list[Object]


def add_finalizer(obj: Mapping[str, Any], finalizer: str) -> Patch | None:
    """Adds `finalizer` to exactly this version of the object; None when there is nothing to do.

    An object that is being deleted takes no new finalizers.
    """
    meta = obj["metadata"]
    present = meta.get("finalizers")
    if finalizer in (present or ()) or meta.get("deletionTimestamp"):
        return None
    add = (
        {"op": "add", "path": "/metadata/finalizers/-", "value": finalizer}
        if present
        else {"op": "add", "path": "/metadata/finalizers", "value": [finalizer]}
    )
    return [_test("uid", meta["uid"]), _test("resourceVersion", meta["resourceVersion"]), add]


def remove_finalizer(
    obj: Mapping[str, Any], finalizer: str, *, same_version: bool = False
) -> Patch | None:
    """Removes `finalizer` and no other; None when it is not there.

    same_version: only if nobody has written the object since it was read.
    """
    meta = obj["metadata"]
    finalizers = meta.get("finalizers") or []
    if finalizer not in finalizers:
        return None
    index = finalizers.index(finalizer)
    tests = [_test("uid", meta["uid"]), _test(f"finalizers/{index}", finalizer)]
    if same_version:
        tests.append(_test("resourceVersion", meta["resourceVersion"]))
    return [*tests, {"op": "remove", "path": f"/metadata/finalizers/{index}"}]


def _test(path: str, value: str) -> Object:
    return {"op": "test", "path": f"/metadata/{path}", "value": value}
