"""What users get wrong: a message that names the field and the remedy, before a Pod is wasted."""

from typing import Any

import pytest

from tests.integration.lab import Lab
from tune_operator.api.constants import (
    LABEL_ATTEMPT,
    LABEL_EXPERIMENT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
)
from tune_operator.experiment.accepted import parse
from tune_operator.kube.errors import Invalid
from tune_operator.kube.resources import EXPERIMENTS, PODS
from tune_operator.lifecycle.pod import name_of

BAD_SPECS: list[tuple[str, dict[str, Any], str, tuple[str, ...]]] = [
    (
        "10,001 trials",
        {"numSamples": 10_001},
        "TooManyTrials",
        ("spec.numSamples", "10001", "at most 10000", "lower numSamples"),
    ),
    (
        "bounds the wrong way round",
        {"search": {"space": {"lr": {"uniform": {"lower": "2", "upper": "1"}}}}},
        "",
        ("spec.search.space.lr", "upper"),
    ),
    (
        "a bucket that cannot be one",
        {
            "storage": {
                "uri": "s3://a..b/team",
                "endpoint": "http://127.0.0.1:9",
                "credentials": {"mode": "Secret", "secretRef": {"name": "storage"}},
            }
        },
        "InvalidSpec",
        ("spec.storage.uri", "bucket name"),
    ),
    (
        "two parameters, one variable",
        {"search": {"space": {"a-b": {"constant": 1}, "a.b": {"constant": 2}}}},
        "ParameterCollision",
        ("TUNE_PARAM_A_B", "rename"),
    ),
    (
        "a volume that does not exist",
        {
            "trainer": None,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "trainer",
                            "image": "played",
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                        }
                    ]
                }
            },
        },
        "InvalidPod",
        ("spec.template", "volumeMounts", "data"),
    ),
    (
        "variables that are no objects",
        {
            "trainer": None,
            "template": {
                "spec": {"containers": [{"name": "trainer", "image": "played", "env": ["A=1"]}]}
            },
        },
        "InvalidPod",
        ("spec.template", "env", "lists of objects"),
    ),
    (
        "a typo in the template",
        {
            "trainer": None,
            "template": {
                "spec": {"containers": [{"name": "trainer", "image": "played", "comand": []}]}
            },
        },
        "InvalidPod",
        ("comand",),
    ),
]


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [case[1:] for case in BAD_SPECS],
    ids=[case[0] for case in BAD_SPECS],
)
async def test_a_specification_that_cannot_run_is_not_accepted(
    lab: Lab, changes: dict[str, Any], reason: str, words: tuple[str, ...]
) -> None:
    await lab.apply("refused", **changes)
    message = await lab.condition("refused", "Accepted", "False", reason)
    for word in words:
        assert word in message
    assert message.partition(": ")[2] == await lab.event("refused", message.partition(":")[0])
    assert not await lab.pods("refused")
    await lab.delete("refused")
    await lab.gone("refused")


async def test_a_template_without_a_container_trainer_is_refused_at_once(lab: Lab) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": "played"}]}}
    with pytest.raises(Invalid, match="container named trainer"):
        await lab.apply("unnamed", trainer=None, template=template)


async def test_an_unknown_search_type_is_refused_at_once(lab: Lab) -> None:
    odd = lab.manifest("odd", search={"space": {"lr": {"loguniforn": {}}}})
    # As kubectl apply does it: with strict field validation.
    with pytest.raises(Invalid, match=r"unknown field .*loguniforn"):
        await lab.kube.create(EXPERIMENTS, lab.namespace, odd, dry_run=True)


@pytest.mark.parametrize(
    ("storage", "keys", "reason", "words"),
    [
        (
            {"credentials": {"mode": "Secret", "secretRef": {"name": "missing"}}},
            {},
            "SecretNotFound",
            ("'missing'", "create it"),
        ),
        ({}, {"AWS_SECRET_ACCESS_KEY": ""}, "SecretIncomplete", ("AWS_SECRET_ACCESS_KEY",)),
        ({}, {"AWS_SECRET_ACCESS_KEY": "wrong-key"}, "AccessDenied", ()),
        ({"uri": "s3://no-such-bucket"}, {}, "BucketMissing", ("no-such-bucket",)),
        ({"endpoint": "http://127.0.0.1:9"}, {}, "Unreachable", ("127.0.0.1:9",)),
    ],
    ids=["no Secret", "empty key", "wrong key", "no bucket", "nobody listens"],
)
async def test_a_store_that_cannot_be_used_costs_no_pod(
    lab: Lab, storage: dict[str, Any], keys: dict[str, str], reason: str, words: tuple[str, ...]
) -> None:
    await lab.secret("mine", **keys)
    mine = {"credentials": {"mode": "Secret", "secretRef": {"name": "mine"}}}
    whole = {**lab.manifest("store")["spec"]["storage"], **mine, **storage}
    await lab.apply("store", storage=whole)
    message = await lab.condition("store", "StorageAvailable", "False", reason)
    for word in words:
        assert word in message
    assert (await lab.event("store", "StorageUnavailable")).startswith(f"{reason}: ")
    assert not await lab.pods("store")
    await lab.delete("store")
    await lab.gone("store")


async def test_a_store_that_comes_to_life_starts_the_trials(lab: Lab) -> None:
    late = {"credentials": {"mode": "Secret", "secretRef": {"name": "late"}}}
    await lab.apply("late", storage={**lab.manifest("x")["spec"]["storage"], **late})
    await lab.condition("late", "StorageAvailable", "False", "SecretNotFound")
    await lab.secret("late")
    await (await lab.player("late", "00000", 1)).complete()
    await lab.condition("late", "StorageAvailable", "True")
    await lab.condition("late", "Complete", "True")


async def test_an_image_that_cannot_be_pulled_is_shown_and_can_be_deleted(lab: Lab) -> None:
    template = {
        "metadata": {"annotations": {"tune.dev/waiting-reason": "ImagePullBackOff"}},
        "spec": {"containers": [{"name": "trainer", "image": "dev.local/none:1"}]},
    }
    await lab.apply("imageless", trainer=None, template=template)
    assert "00000" in await lab.condition("imageless", "Stalled", "True", "ImagePullBackOff")
    await lab.event("imageless", "ImagePullBackOff")
    await lab.delete("imageless")
    await lab.gone("imageless")


async def test_a_trainer_that_never_starts_costs_a_failure_and_ends(lab: Lab) -> None:
    template = {
        "metadata": {"annotations": {"tune.dev/waiting-reason": "CreateContainerConfigError"}},
        "spec": {"containers": [{"name": "trainer", "image": "dev.local/played:1"}]},
    }
    failure = {"maxFailures": 0, "startTimeoutSeconds": 2}
    await lab.apply("startless", trainer=None, template=template, failure=failure)
    message = await lab.condition("startless", "Failed", "True")
    assert "CreateContainerConfigError" in message


async def test_a_template_broken_in_mid_run_stops_only_what_has_not_started(lab: Lab) -> None:
    good = {"spec": {"containers": [{"name": "trainer", "image": "dev.local/played:1"}]}}
    mount = {"name": "data", "mountPath": "/data"}
    container = {"name": "trainer", "image": "dev.local/played:1", "volumeMounts": [mount]}
    await lab.apply("edited", numSamples=2, trainer=None, template=good)
    player = await lab.player("edited", "00000", 1)
    await player.train(1)
    await lab.change("edited", "template", {"spec": {"containers": [container]}})
    await lab.condition("edited", "Accepted", "False", "InvalidPod")
    await player.train(1)
    await player.complete()
    await lab.trial("edited", "00000", lambda row: row["state"] == "Terminated")
    assert (await lab.get("edited"))["status"]["done"] == "1/2"
    await lab.change("edited", "template", good)
    await (await lab.player("edited", "00001", 1)).complete()
    await lab.condition("edited", "Complete", "True")


@pytest.mark.parametrize("owner", ["nobody", "another experiment"])
async def test_a_name_taken_by_a_foreign_pod_is_never_touched(lab: Lab, owner: str) -> None:
    labels = await labels_of_another(lab) if owner == "another experiment" else {}
    made = await lab.apply(
        "taken",
        storage={
            **lab.manifest("x")["spec"]["storage"],
            "credentials": {"mode": "Secret", "secretRef": {"name": "later"}},
        },
    )
    await lab.condition("taken", "StorageAvailable", "False")
    # It has the name that the first attempt will want.
    foreign = await lab.bare_pod(name_of(parse(made), "00000", 1), labels)
    await lab.secret("later")
    assert foreign["metadata"]["name"] in await lab.condition("taken", "NameConflict", "True")
    pod = await lab.kube.get(PODS, lab.namespace, foreign["metadata"]["name"])
    assert pod["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert "deletionTimestamp" not in pod["metadata"]
    await lab.delete("taken")
    await lab.gone("taken")


async def labels_of_another(lab: Lab) -> dict[str, str]:
    """Those of an attempt that an experiment is going to make."""
    other = await lab.apply("other", suspend=True)
    await lab.condition("other", "Suspended", "True")
    return {
        LABEL_EXPERIMENT: "other",
        LABEL_EXPERIMENT_UID: other["metadata"]["uid"],
        LABEL_TRIAL: "00000",
        LABEL_ATTEMPT: "2",
    }
