"""The rights the code uses, read from its source: a new verb without a grant fails here.

Every kind the operator talks about is a constant of `kube/resources.py`, and what is done to it is
the call that constant is handed to.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tune_operator
from tests.unit.kube import rights
from tests.unit.kube.rights import Rules
from tune_operator.kube import resources
from tune_operator.kube.resources import Resource

SOURCE = Path(tune_operator.__file__).parent
KINDS = {name: kind for name, kind in vars(resources).items() if isinstance(kind, Resource)}

CALLS = {
    "get": "get",
    "list": "list",
    "create": "create",
    "replace": "update",
    "replace_status": "update",
    "json_patch": "patch",
    "delete": "delete",
    "Informer": "list watch",
    "served": "",  # discovery: open to everybody who is logged in
    "_live": "get",
    "_patch": "get patch",
}
"""What a call does to the kind it is given. One that is not here has to be added first."""

SUBRESOURCES = {"replace_status": "/status"}

NOT_OURS = {
    ("tuneoperator.io", "tuneexperiments", "list"): "Kopf's",
    ("tuneoperator.io", "tuneexperiments", "watch"): "Kopf's",
    ("tuneoperator.io", "tuneexperiments/finalizers", "update"): "for blockOwnerDeletion of a Pod",
    ("authentication.k8s.io", "tokenreviews", "create"): "by Kube.token_review, below",
}
"""Rights that no call with a constant shows, and why they are needed."""

ELSEWHERE = {
    "kube/leader.py": "OWN",
    "ca.py": "OWN",
    "experiment/storage.py": "TENANT",
    "app.py NAMESPACES": "CLUSTER",
    "kube/nodes.py": "NODE_WATCH",
}
"""Which part of the table a file (or one kind in it) draws on, if not on EXPERIMENTS."""

Right = tuple[str, str, str]


def mentions() -> Iterator[tuple[str, str, str]]:
    """(file, constant, call it is handed to; "" if to none) of every kind in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE).as_posix()
        if file in ("kube/resources.py", "kube/client.py"):
            continue
        tree = ast.parse(path.read_text())
        callers = {
            id(argument): call
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
            for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in KINDS:
                call = callers.get(id(node))
                yield file, node.id, _name(call.func) if call else ""


def _name(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def used(part: str) -> set[Right]:
    """The rights that the files of this part of the table use."""
    return {
        (KINDS[kind].group, KINDS[kind].plural + SUBRESOURCES.get(call, ""), verb)
        for file, kind, call in mentions()
        if ELSEWHERE.get(f"{file} {kind}", ELSEWHERE.get(file, "EXPERIMENTS")) == part
        for verb in CALLS[call].split()
    }


def granted(rules: Rules) -> set[Right]:
    return {(group, resource, verb) for group, resource, verb, _ in rules}


def test_every_mention_of_a_kind_is_a_call_whose_verbs_are_known() -> None:
    assert [mention for mention in mentions() if mention[2] not in CALLS] == []


@pytest.mark.parametrize("part", ["EXPERIMENTS", "CLUSTER", "NODE_WATCH", "OWN", "TENANT"])
def test_what_is_used_is_what_is_granted(part: str) -> None:
    assert used(part) == granted(getattr(rights, part)) - NOT_OURS.keys()


def test_what_no_call_shows_is_granted_as_well() -> None:
    assert NOT_OURS.keys() <= granted(rights.EXPERIMENTS | rights.CLUSTER)


def test_looking_at_nodes_is_part_of_following_them() -> None:
    assert rights.NODE_READ <= rights.NODE_WATCH
