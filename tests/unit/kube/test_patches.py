from typing import Any

import pytest

from tune_operator.kube.patches import Patch, add_finalizer, remove_finalizer

OURS = "tuneoperator.io/graceful-stop"
UID = {"op": "test", "path": "/metadata/uid", "value": "u"}
VERSION = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


def obj(*finalizers: str, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": [*finalizers], **meta}}


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param(
            {"metadata": {"uid": "u", "resourceVersion": "7"}},
            [UID, VERSION, {"op": "add", "path": "/metadata/finalizers", "value": [OURS]}],
            id="the first one makes the list",
        ),
        pytest.param(
            obj(),
            [UID, VERSION, {"op": "add", "path": "/metadata/finalizers", "value": [OURS]}],
            id="an empty list is replaced",
        ),
        pytest.param(
            obj("other"),
            [UID, VERSION, {"op": "add", "path": "/metadata/finalizers/-", "value": OURS}],
            id="others stay",
        ),
        pytest.param(obj("other", OURS), None, id="it is there already"),
        pytest.param(obj(deletionTimestamp="now"), None, id="too late"),
    ],
)
def test_add(before: dict[str, Any], expected: Patch | None) -> None:
    assert add_finalizer(before, OURS) == expected


def removal(index: int, *more: dict[str, Any]) -> Patch:
    path = f"/metadata/finalizers/{index}"
    found = {"op": "test", "path": path, "value": OURS}
    return [UID, found, *more, {"op": "remove", "path": path}]


@pytest.mark.parametrize(
    ("before", "same_version", "expected"),
    [
        pytest.param(obj(OURS), False, removal(0), id="the only one"),
        pytest.param(obj("a", OURS, "b"), False, removal(1), id="between others"),
        pytest.param(obj(OURS), True, removal(0, VERSION), id="of exactly this version"),
        pytest.param(obj("a"), False, None, id="not there"),
        pytest.param({"metadata": {"uid": "u", "finalizers": None}}, False, None, id="none at all"),
    ],
)
def test_remove(before: dict[str, Any], same_version: bool, expected: Patch | None) -> None:
    assert remove_finalizer(before, OURS, same_version=same_version) == expected
