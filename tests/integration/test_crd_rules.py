"""The CRD on a real API server: every rule refuses with its message, and good objects pass.

Most objects are only tried (dry run, strict about unknown fields), so nothing is stored. What must
be stored has a store that refuses connections, so an operator that watches starts no Pod for it.
"""

import contextlib
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.clusters import Cluster
from tests.polling import soon
from tests.unit.api.objects import REMOVED, good, space, template
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, Invalid, KubeError, NotFound
from tune_operator.kube.resources import EXPERIMENTS

NOWHERE = "http://127.0.0.1:1"
TYPES = "set exactly one of uniform, quniform, loguniform, "
NUMBER = "should match '^[-+]?([0-9]+"
BOUNDS = "upper must be greater than lower: swap the bounds or widen the range"
KEY = "a parameter's name starts with a letter or '_' and has letters, digits, '_', '.' and '-'"
NO_TRAINER = "spec.containers needs a container named trainer, which runs the trial"


def experiment(spec: dict[str, Any], name: str = "rules") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


async def refusal(kube: Kube, namespace: str, body: dict[str, Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        await kube.create(EXPERIMENTS, namespace, body, dry_run=True)
    return caught.value


REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "trainer and template": (
        good(template=template()["template"]), "spec", "set exactly one of trainer and template",
    ),
    "neither trainer nor template": (
        good(trainer=REMOVED), "spec", "set exactly one of trainer and template",
    ),
    "template without a trainer": (
        template(containers=[{"name": "main"}]), "spec.template.spec", NO_TRAINER,
    ),
    "template with a nameless container": (
        template(containers=[{"image": "main"}]), "spec.template.spec", NO_TRAINER,
    ),
    "template without containers": (
        good(trainer=REMOVED, template={"spec": {}}), "spec.template.spec", NO_TRAINER,
    ),
    "template without a spec": (
        good(trainer=REMOVED, template={}), "spec.template.spec", "Required value",
    ),
    "trainer restarted by the kubelet": (
        template(containers=[{"name": "trainer", "restartPolicy": "Always"}]),
        "spec.template.spec", "container trainer must not set restartPolicy",
    ),
    "Pod restarted by the kubelet": (
        template(restartPolicy="OnFailure"),
        "spec.template.spec", "spec.restartPolicy must be Never or absent",
    ),
    "two typed search types": (
        space(lr={"uniform": {"lower": 0, "upper": 1}, "randn": {}}),
        "spec.search.space[lr]", TYPES,
    ),
    "a typed and an untyped search type": (
        space(lr={"uniform": {"lower": 0, "upper": 1}, "choice": [1]}),
        "", '"spec.search.space.lr" must validate one and only one schema (oneOf). Found 2',
    ),
    "two untyped search types": (
        space(lr={"constant": 1, "choice": [1]}),
        "", '"spec.search.space.lr" must validate one and only one schema (oneOf). Found 2',
    ),
    "no search type": (
        space(lr={}), "spec.search.space.lr", "should have at least 1 properties",
    ),
    "name of a parameter": (
        good(search={"space": {"1st": {"constant": 1}}}), "spec.search.space", KEY,
    ),
    "long name of a parameter": (
        good(search={"space": {"x" * 64: {"constant": 1}}}), "spec.search.space", KEY,
    ),
    "parameter inside a value": (
        good(search={"space": {"a": {"constant": 1}, "a/b": {"constant": 1}}}),
        "spec.search.space", "a parameter cannot be a value and hold others (a and a/b)",
    ),
    "empty space": (space(), "spec.search.space", "should have at least 1 properties"),
    "too many parameters": (
        space(**{f"p{number}": {"constant": 1} for number in range(101)}),
        "spec.search.space", "must have at most 100 items",
    ),
    "text for a number": (
        space(lr={"uniform": {"lower": "small", "upper": 1}}),
        "spec.search.space.lr.uniform.lower", NUMBER,
    ),
    "fraction for an integer": (
        space(n={"randint": {"lower": 0.5, "upper": 3}}),
        "spec.search.space.n.randint.lower", "must be of type integer,string",
    ),
    "bounds of randint": (
        space(n={"randint": {"lower": 3, "upper": 3}}),
        "spec.search.space[n].randint.upper", BOUNDS,
    ),
    "bounds of qrandint": (
        space(n={"qrandint": {"lower": 4, "upper": 3}}),
        "spec.search.space[n].qrandint.upper", BOUNDS,
    ),
    "bounds of lograndint": (
        space(n={"lograndint": {"lower": 4, "upper": 3}}),
        "spec.search.space[n].lograndint.upper", BOUNDS,
    ),
    "bounds of qlograndint": (
        space(n={"qlograndint": {"lower": 4, "upper": 3, "q": 2}}),
        "spec.search.space[n].qlograndint.upper", BOUNDS,
    ),
    "empty choice": (
        space(a={"choice": []}), "spec.search.space.a.choice", "should have at least 1 items",
    ),
    "empty algorithm": (
        good(search__algorithm={}), "spec.search.algorithm", "set exactly one of random",
    ),
    "empty scheduler": (good(scheduler={}), "spec.scheduler", "set exactly one of fifo"),
    "bound of a criterion": (
        good(stop__criteria={"loss": "low"}), "spec.stop.criteria.loss", NUMBER,
    ),
    "backoff upside down": (
        good(failure={"backoff": {"initialSeconds": 60, "maxSeconds": 30}}),
        "spec.failure.backoff.maxSeconds", "maxSeconds must be at least initialSeconds",
    ),
    "backoff above the default": (
        good(failure={"backoff": {"initialSeconds": 301}}),
        "spec.failure.backoff.maxSeconds", "maxSeconds must be at least initialSeconds",
    ),
    "reserved variable": (
        good(trainer__env=[{"name": "TUNE_CA", "value": "x"}]),
        "spec.trainer.env[0].name", "names that start with TUNE_ are set by the operator",
    ),
    "variable with two values": (
        good(trainer__env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {}}}]),
        "spec.trainer.env[0].value", "set value or valueFrom, not both",
    ),
    "variable twice": (
        good(trainer__env=[{"name": "A"}, {"name": "A"}]), "spec.trainer.env[1]", "Duplicate value",
    ),
    "quantity": (
        good(trainer__resources={"limits": {"memory": "1 GB"}}),
        "spec.trainer.resources.limits.memory", "should match",
    ),
    "entry point": (good(trainer__entrypoint="digits.py"), "spec.trainer.entrypoint", "match"),
    "no samples": (good(numSamples=0), "spec.numSamples", "greater than or equal to 1"),
    "too much concurrency": (
        good(maxConcurrentTrials=1001), "spec.maxConcurrentTrials", "less than or equal to 1000",
    ),
    "mode": (
        good(objective__mode="maximum"), "spec.objective.mode", 'supported values: "min", "max"',
    ),
    "missing objective": (good(objective=REMOVED), "spec.objective", "Required value"),
    "store": (good(storage__uri="minio/tune"), "spec.storage.uri", "should match '^s3://"),
    "endpoint": (good(storage__endpoint="minio:9000"), "spec.storage.endpoint", "'^https?://"),
    "credentials": (
        good(storage__credentials__mode="Ambient"),
        "spec.storage.credentials.mode", 'supported values: "Secret"',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "field", "message"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_wrong_value_is_refused_at_its_field(
    kube: Kube, namespace: str, spec: dict[str, Any], field: str, message: str
) -> None:
    error = await refusal(kube, namespace, experiment(spec))
    assert isinstance(error, Invalid)
    told = [cause.message for cause in error.causes if not field or cause.field == field]
    assert any(message in text for text in told), error.causes


async def test_a_typo_is_refused_at_its_field(kube: Kube, namespace: str) -> None:
    typo = space(lr={"uniform": {"lower": 0, "upper": 1}}, act={"chioce": ["relu"]})
    error = await refusal(kube, namespace, experiment(typo))
    assert 'unknown field "spec.search.space.act.chioce"' in error.message


async def test_a_name_has_at_most_40_characters(kube: Kube, namespace: str) -> None:
    await kube.create(EXPERIMENTS, namespace, experiment(good(), "x" * 40), dry_run=True)
    error = await refusal(kube, namespace, experiment(good(), "x" * 41))
    assert "metadata.name may have at most 40 characters: choose a shorter one" in error.message


PASSES: dict[str, dict[str, Any]] = {
    "the short form": good(),
    "every search type": space(
        uniform={"uniform": {"lower": 0, "upper": 1}},
        quniform={"quniform": {"lower": 0, "upper": 1, "q": 0.25}},
        loguniform={"loguniform": {"lower": "1e-4", "upper": "1e-1"}},
        qloguniform={"qloguniform": {"lower": 0.5, "upper": 2, "q": 0.5}},
        randint={"randint": {"lower": 0, "upper": 4}},
        text={"randint": {"lower": "0", "upper": "1e4"}},
        qrandint={"qrandint": {"lower": 0, "upper": 10, "q": 5}},
        lograndint={"lograndint": {"lower": 1, "upper": 100}},
        qlograndint={"qlograndint": {"lower": 8, "upper": 64, "q": 8}},
        choice={"choice": ["relu", 1, 1.5, True, None, [1], {"a": 1}]},
        randn={"randn": {}},
        qrandn={"qrandn": {"q": 0.5}},
        grid={"gridSearch": [1, None, "x"]},
        constant={"constant": None},
    ),
    "nested names": good(search={"space": {"a/b": {"constant": 1}, "a/c.d": {"constant": 2}}}),
    "algorithm and scheduler": good(search__algorithm={"random": {}}, scheduler={"fifo": {}}),
    "criteria as text": good(stop={"criteria": {"loss": "1e-3", "info/acc": 0.9}}),
    "raw template": template(
        restartPolicy="Never",
        volumes=[{"name": "data", "emptyDir": {}}],
        containers=[{"name": "trainer", "image": "a"}, {"name": "side", "restartPolicy": "Always"}],
    ),
    "all of a trainer": good(
        trainer__sourceConfigMap="digits",
        trainer__imagePullPolicy="Never",
        trainer__resources={"requests": {"cpu": 0.5, "memory": "1Gi"}, "limits": {"cpu": 2}},
        trainer__env=[
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
    ),
    "all of failure": good(
        failure={
            "maxFailures": -1,
            "backoff": {"initialSeconds": 0, "maxSeconds": 0},
            "startTimeoutSeconds": 60,
        }
    ),
}


@pytest.mark.parametrize("spec", PASSES.values(), ids=PASSES.keys())
async def test_a_good_specification_is_stored_as_it_was_written(
    kube: Kube, namespace: str, spec: dict[str, Any]
) -> None:
    """Nothing is pruned and no default is added, so that re-applying it changes nothing."""
    stored = await kube.create(EXPERIMENTS, namespace, experiment(spec), dry_run=True)
    assert stored["spec"] == spec


@pytest.fixture
async def stored(kube: Kube, namespace: str) -> AsyncIterator[dict[str, Any]]:
    """An experiment in the API server."""
    spec = good(storage__endpoint=NOWHERE)
    made = await kube.create(EXPERIMENTS, namespace, experiment(spec))
    yield made
    await _gone(kube, made)


async def _gone(kube: Kube, made: dict[str, Any]) -> None:
    """Delete it, whether or not an operator that put its finalizer there is still running."""
    name, namespace = made["metadata"]["name"], made["metadata"]["namespace"]
    with contextlib.suppress(NotFound, Conflict, Invalid):
        await kube.delete(EXPERIMENTS, namespace, name, uid=made["metadata"]["uid"])
        patch = [{"op": "remove", "path": "/metadata/finalizers"}]
        await kube.json_patch(EXPERIMENTS, namespace, name, patch)


CHANGES: dict[str, tuple[str, str, Any]] = {
    "objective": ("objective", "/objective/mode", "min"),
    "seed added": ("search", "/search/seed", 1),
    "bound": ("search", "/search/space/lr/loguniform/upper", 0.2),
    "choice": ("search", "/search/space/act/choice", ["relu"]),
    "parameter added": ("search", "/search/space/new", {"constant": None}),
    "scheduler added": ("scheduler", "/scheduler", {"fifo": {}}),
    "criterion": ("stop", "/stop/criteria/training_iteration", 31),
    "stop removed": ("stop", "/stop", REMOVED),
    "frequency": ("checkpoint", "/checkpoint/frequency", 6),
    "checkpoint removed": ("checkpoint", "/checkpoint", REMOVED),
    "uri": ("storage", "/storage/uri", "s3://tune/team-b"),
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


MUTABLE: dict[str, tuple[str, Any]] = {
    "numSamples": ("/numSamples", 9),
    "maxConcurrentTrials": ("/maxConcurrentTrials", 3),
    "failure": ("/failure", {"maxFailures": 5}),
    "failure removed": ("/failure", REMOVED),
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
    spec = good(storage__endpoint=NOWHERE, search={"space": dimensions})
    made = await kube.create(EXPERIMENTS, namespace, experiment(spec, "largest"))
    try:
        changed = await kube.json_patch(
            EXPERIMENTS, namespace, "largest", operation("/numSamples", 9)
        )
        assert changed["spec"]["numSamples"] == 9
    finally:
        await _gone(kube, made)


TIME = "2026-03-01T12:00:00Z"
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Accepted",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": TIME,
            "reason": "Accepted",
            "message": "",
        }
    ],
    "runID": "6f0e0000-0000-4000-8000-000000000001",
    "storage": {"uri": "s3://tune/team-a/default/digits/6f0e"},
    "journal": {"term": 4},
    "startTime": TIME,
    "completionTime": TIME,
    "counts": {
        "total": 20, "pending": 0, "running": 4, "paused": 0, "terminated": 15, "errored": 1,
    },
    "failures": 2,
    "disruptions": 5,
    "lostIterations": 37,
    "state": "Running",
    "done": "16/20",
    "live": {"00003": "3/6c2b7bd3-0000-4000-8000-000000000001/"},
    "trials": [
        {
            "name": "00003",
            "state": "Running",
            "reason": "",
            "params": {"lr": 0.01, "model": {"act": "relu", "any": None}},
            "truncated": False,
            "attempt": 3,
            "node": "node-1",
            "iteration": 40,
            "objectiveValue": None,
            "objectiveValueText": "NaN",
            "checkpoint": {"iteration": 40, "attempt": 2, "time": TIME},
            "failures": 1,
            "disruptions": 1,
            "infrastructure": 0,
            "streak": 0,
            "seq": 12,
            "startTime": TIME,
            "completionTime": TIME,
            "plan": ["2-40", "2-35"],
            "lastInterruption": {
                "class": "preempted",
                "reason": "EvictionByEvictionAPI",
                "exitCode": 0,
                "message": "",
                "row": 8,
                "node": "node-1",
                "attempt": 2,
                "iteration": 41,
                "time": TIME,
            },
        }
    ],
    "finished": {"terminated": "0-2,5-16", "errored": "4"},
    "best": {
        "trial": "00007",
        "objectiveValue": 0.971,
        "iteration": 93,
        "config": {"lr": 0.01},
        "truncated": False,
        "checkpoint": {"uri": "s3://tune/x", "iteration": 90, "attempt": 1, "time": TIME},
    },
}  # fmt: skip


async def write_status(kube: Kube, meta: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """Replace the status, even if somebody else writes too."""
    while True:
        current = await kube.get(EXPERIMENTS, meta["namespace"], meta["name"])
        try:
            return await kube.replace_status(EXPERIMENTS, {**current, "status": status})
        except Conflict:
            continue


async def test_a_full_status_is_stored_whole(kube: Kube, stored: dict[str, Any]) -> None:
    written = await write_status(kube, stored["metadata"], STATUS)
    assert written["status"] == STATUS
    assert written["metadata"]["generation"] == stored["metadata"]["generation"]


OVERSIZED: dict[str, dict[str, Any]] = {
    "listed trials": {"trials": [{"name": "00000", "state": "Pending"}] * 257},
    "live attempts": {"live": {f"{number:05}": "1//" for number in range(1002)}},
    "entry of a live attempt": {"live": {"00000": "x" * 97}},
    "resume plan": {"trials": [{"name": "00000", "state": "Pending", "plan": ["1-1"] * 5}]},
    "ranges": {"finished": {"errored": "1" * 16385}},
}


@pytest.mark.parametrize("status", OVERSIZED.values(), ids=OVERSIZED.keys())
async def test_the_status_is_bounded(
    kube: Kube, stored: dict[str, Any], status: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await write_status(kube, stored["metadata"], status)


def kubectl(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(cluster.bin / "kubectl"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_kubectl_explains_every_step_of_the_way(cluster: Cluster) -> None:
    def explain() -> subprocess.CompletedProcess[str]:
        return kubectl(cluster, "explain", "tx.spec.failure.maxFailures")

    def explained() -> str | None:
        return explain().stdout or None

    # The API server publishes a CRD's schema a moment after it serves its objects.
    text = soon(explained, "kubectl explain", 30, lambda: explain().stderr)
    assert "-1 is unlimited. Default 3." in " ".join(text.split())


async def test_kubectl_lists_the_columns(
    cluster: Cluster, kube: Kube, stored: dict[str, Any]
) -> None:
    meta = stored["metadata"]
    await write_status(kube, meta, STATUS)
    header, row = kubectl(cluster, "get", "tune", "-n", meta["namespace"]).stdout.splitlines()
    assert header.split() == [
        "NAME", "STATE", "DONE", "RUNNING", "FAILURES", "DISRUPTIONS", "BEST", "AGE",
    ]  # fmt: skip
    assert row.split()[:7] == ["rules", "Running", "16/20", "4", "2", "5", "0.971"]
