"""What may be changed in a stored experiment and what may not, on a real API server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.stored import stored_experiment
from tests.unit.api.failure_cases import rule, ruled
from tests.unit.api.objects import REMOVED, template
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Invalid
from tune_operator.kube.resources import EXPERIMENTS


@pytest.fixture
async def stored(kube: Kube, namespace: str) -> AsyncIterator[dict[str, Any]]:
    """An experiment in the API server."""
    async with stored_experiment(kube, namespace) as made:
        yield made


CHANGES: dict[str, tuple[str, str, Any]] = {
    "objective": ("objective", "/objective/mode", "min"),
    "seed added": ("search", "/search/seed", 1),
    "bound": ("search", "/search/space/lr/loguniform/upper", 0.2),
    "choice": ("search", "/search/space/act/choice", ["relu"]),
    "parameter added": ("search", "/search/space/new", {"constant": None}),
    "scheduler added": ("scheduler", "/scheduler", {"fifo": {}}),
    "criterion": ("stop", "/stop/criteria/training_iteration", 31),
    "stop removed": ("stop", "/stop", REMOVED),
    "maxLostSeconds added": ("checkpoint.maxLostSeconds", "/checkpoint/maxLostSeconds", 60),
    "onPreemption added": ("checkpoint.onPreemption", "/checkpoint/onPreemption", False),
    "frequency": ("checkpoint.frequency", "/checkpoint/frequency", 6),
    "frequency removed": ("checkpoint.frequency", "/checkpoint/frequency", REMOVED),
    "atEnd": ("checkpoint.atEnd", "/checkpoint/atEnd", False),
    "scoreAttribute added": ("checkpoint.scoreAttribute", "/checkpoint/scoreAttribute", "loss"),
    "scoreOrder added": ("checkpoint.scoreOrder", "/checkpoint/scoreOrder", "min"),
    "uri": ("storage", "/storage/uri", "s3://tune/team-b"),
    "deletionPolicy": ("storage", "/storage/deletionPolicy", "Delete"),
    "Secret": ("storage", "/storage/credentials/secretRef/name", "other"),
}


def operation(path: str, value: Any) -> list[dict[str, Any]]:
    if value is REMOVED:
        return [{"op": "remove", "path": f"/spec{path}"}]
    return [{"op": "add", "path": f"/spec{path}", "value": value}]


@pytest.mark.parametrize(("field", "path", "value"), CHANGES.values(), ids=CHANGES.keys())
async def test_what_defines_the_experiment_is_immutable(
    kube: Kube, stored: dict[str, Any], field: str, path: str, value: Any
) -> None:
    meta = stored["metadata"]
    with pytest.raises(Invalid) as caught:
        await kube.json_patch(EXPERIMENTS, meta["namespace"], meta["name"], operation(path, value))
    (cause,) = caught.value.causes
    assert cause.field == f"spec.{field}"
    assert f"{field} is immutable: restore its value" in cause.message


async def test_a_section_that_is_removed_takes_its_immutable_fields_with_it(
    kube: Kube, stored: dict[str, Any]
) -> None:
    meta = stored["metadata"]
    removal = operation("/checkpoint", REMOVED)
    with pytest.raises(Invalid) as caught:
        await kube.json_patch(EXPERIMENTS, meta["namespace"], meta["name"], removal)
    fields = {cause.field for cause in caught.value.causes}
    assert fields == {"spec.checkpoint.frequency", "spec.checkpoint.atEnd"}


async def test_a_section_may_be_added_and_removed_for_what_is_mutable_in_it(
    kube: Kube, namespace: str
) -> None:
    async with stored_experiment(kube, namespace, checkpoint=REMOVED) as made:
        meta = made["metadata"]
        more = operation("/checkpoint", {"keep": {"latest": 3}})
        changed = await kube.json_patch(EXPERIMENTS, namespace, meta["name"], more)
        assert changed["spec"]["checkpoint"] == {"keep": {"latest": 3}}
        late = operation("/checkpoint/frequency", 1)
        with pytest.raises(Invalid, match=r"checkpoint\.frequency is immutable"):
            await kube.json_patch(EXPERIMENTS, namespace, meta["name"], late)
        none = operation("/checkpoint", REMOVED)
        changed = await kube.json_patch(EXPERIMENTS, namespace, meta["name"], none)
        assert "checkpoint" not in changed["spec"]


MUTABLE: dict[str, tuple[str, Any]] = {
    "numSamples": ("/numSamples", 9),
    "maxConcurrentTrials": ("/maxConcurrentTrials", 3),
    "failure": ("/failure", {"maxFailures": 5}),
    "failure removed": ("/failure", REMOVED),
    "maxFailures": ("/failure/maxFailures", -1),
    "disruptions": ("/failure/disruptions", {"policy": "Ignore"}),
    "maxFailedTrials": ("/failure/maxFailedTrials", 1),
    "failFast": ("/failure/failFast", True),
    "backoff": ("/failure/backoff", {"maxSeconds": 60}),
    "rules": ("/failure/rules", [rule("In", 42)]),
    "nodeLost": ("/failure/nodeLost", {"policy": "Wait"}),
    "startTimeoutSeconds": ("/failure/startTimeoutSeconds", 60),
    "progressDeadlineSeconds": ("/failure/progressDeadlineSeconds", 60),
    "keep": ("/checkpoint/keep", {"latest": 5, "best": 0}),
    "keep.best": ("/checkpoint/keep", {"best": 2}),
    "suspend": ("/suspend", True),
    "cleanup": ("/cleanup", {"keepErroredPods": 0}),
    "stopGracePeriodSeconds": ("/stopGracePeriodSeconds", 60),
    "trainer": ("/trainer/resources", {"limits": {"memory": "2Gi"}}),
}


@pytest.mark.parametrize(("path", "value"), MUTABLE.values(), ids=MUTABLE.keys())
async def test_what_steers_the_experiment_is_mutable(
    kube: Kube, stored: dict[str, Any], path: str, value: Any
) -> None:
    meta = stored["metadata"]
    changed = await kube.json_patch(
        EXPERIMENTS, meta["namespace"], meta["name"], operation(path, value)
    )
    assert changed["metadata"]["generation"] == meta["generation"] + 1


async def test_a_trainer_may_become_a_template(kube: Kube, stored: dict[str, Any]) -> None:
    meta = stored["metadata"]
    swap = operation("/trainer", REMOVED) + operation("/template", template()["template"])
    changed = await kube.json_patch(EXPERIMENTS, meta["namespace"], meta["name"], swap)
    assert "trainer" not in changed["spec"]


async def test_the_same_again_changes_nothing(kube: Kube, stored: dict[str, Any]) -> None:
    meta = stored["metadata"]
    patch = [{"op": "add", "path": "/spec", "value": stored["spec"]}]
    again = await kube.json_patch(EXPERIMENTS, meta["namespace"], meta["name"], patch)
    assert again["metadata"]["generation"] == meta["generation"]


async def test_the_largest_space_is_within_the_servers_budget_for_rules(
    kube: Kube, namespace: str
) -> None:
    """CEL rules have a cost limit at run time too, when created and when compared on update."""
    dimensions = {f"{'x' * 55}/p{number:03}": {"choice": list(range(300))} for number in range(100)}
    async with stored_experiment(kube, namespace, search={"space": dimensions}) as made:
        more = operation("/numSamples", 9)
        changed = await kube.json_patch(EXPERIMENTS, namespace, made["metadata"]["name"], more)
        assert changed["spec"]["numSamples"] == 9


async def test_the_most_rules_are_within_the_servers_budget_for_rules(
    kube: Kube, namespace: str
) -> None:
    """So is the search for the two that overlap, and for the words that name them."""
    codes = [list(range(1 + 10 * i, 11 + 10 * i)) for i in range(19)] + [list(range(191, 255))]
    most = ruled(*(rule("In", *some) for some in codes))
    async with stored_experiment(kube, namespace, failure=most) as made:
        meta = made["metadata"]
        worst = operation("/failure/rules/19/onExitCodes/values", [*codes[19][1:], 190])
        with pytest.raises(
            Invalid, match=r"exit code 190 is matched by rules\[18\] and rules\[19\]"
        ):
            await kube.json_patch(EXPERIMENTS, namespace, meta["name"], worst)


async def test_budgets_that_contradict_each_other_after_a_change_are_refused(
    kube: Kube, namespace: str
) -> None:
    async with stored_experiment(kube, namespace, failure={"maxFailedTrials": 1}) as made:
        meta = made["metadata"]
        with pytest.raises(Invalid, match="set one of them"):
            await kube.json_patch(
                EXPERIMENTS, namespace, meta["name"], operation("/failure/failFast", True)
            )
