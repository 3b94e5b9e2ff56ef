"""The CRD on a real API server: every rule refuses with its message, and good objects pass.

Objects are only tried (dry run, strict about unknown fields), so nothing is stored.
"""

from typing import Any

import pytest

from tests.unit.api import failure_cases
from tests.unit.api.objects import REMOVED, good, labelled, space, template
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Invalid, KubeError
from tune_operator.kube.resources import EXPERIMENTS

NAMESPACE = "default"
TYPES = "set exactly one of uniform, quniform, loguniform, "
NUMBER = "should match '^[-+]?([0-9]+"
BOUNDS = "upper must be greater than lower: swap the bounds or widen the range"
KEY = "a parameter's name starts with a letter or '_' and has letters, digits, '_', '.' and '-'"
NO_TRAINER = "spec.containers needs a container named trainer, which runs the trial"

OURS = "labels and finalizers of tuneoperator.io are set by the operator: remove them"
IDENTITY = "name, generateName, namespace and ownerReferences of metadata are set by the operator"


def experiment(spec: dict[str, Any], name: str = "rules") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


async def refusal(kube: Kube, body: dict[str, Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        await kube.create(EXPERIMENTS, NAMESPACE, body, dry_run=True)
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
    "our label": (
        labelled(labels={"app": "a", "tuneoperator.io/trial": "1"}), "spec.template.metadata", OURS,
    ),
    "our finalizer": (
        labelled(finalizers=["a.org/b", "tuneoperator.io/attempt-tracking"]),
        "spec.template.metadata", OURS,
    ),
    **{
        f"{key} of the Pod": (labelled(**{key: value}), "spec.template.metadata", IDENTITY)
        for key, value in {
            "name": "mine", "generateName": "mine-", "namespace": "other", "ownerReferences": [],
        }.items()
    },
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
    "one checkpoint alone": (
        good(checkpoint__keep={"latest": 1}),
        "spec.checkpoint.keep.latest", "greater than or equal to 2",
    ),
    "too many of the best": (
        good(checkpoint__keep={"best": 101}),
        "spec.checkpoint.keep.best", "less than or equal to 100",
    ),
    "order of scores": (
        good(checkpoint__scoreOrder="down"),
        "spec.checkpoint.scoreOrder", 'supported values: "min", "max"',
    ),
    "key of a score": (
        good(checkpoint__scoreAttribute="a b"), "spec.checkpoint.scoreAttribute", "should match",
    ),
    "policy of deletion": (
        good(storage__deletionPolicy="Keep"),
        "spec.storage.deletionPolicy", 'supported values: "Retain", "Delete"',
    ),
    "suspended in words": (
        good(suspend="yes"), "spec.suspend", "must be of type boolean",
    ),
    "Pods that stay a negative time": (
        good(cleanup={"podTTLSeconds": -1}),
        "spec.cleanup.podTTLSeconds", "greater than or equal to 0",
    ),
    "Pods that stay for ever": (
        good(cleanup={"podTTLSeconds": 10**7}),
        "spec.cleanup.podTTLSeconds", "less than or equal to 2592000",
    ),
    "too many Pods kept": (
        good(cleanup={"keepErroredPods": 201}),
        "spec.cleanup.keepErroredPods", "less than or equal to 200",
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
    kube: Kube, spec: dict[str, Any], field: str, message: str
) -> None:
    error = await refusal(kube, experiment(spec))
    assert isinstance(error, Invalid)
    told = [cause.message for cause in error.causes if not field or cause.field == field]
    assert any(message in text for text in told), error.causes


@pytest.mark.parametrize(
    ("section", "field", "message"),
    failure_cases.REFUSED.values(),
    ids=failure_cases.REFUSED.keys(),
)
async def test_a_contradiction_among_budgets_is_refused_in_the_words_of_the_models(
    kube: Kube, section: dict[str, Any], field: str, message: str
) -> None:
    error = await refusal(kube, experiment(good(failure=section)))
    assert isinstance(error, Invalid)
    (cause,) = error.causes
    assert cause.field.startswith(f"spec.failure{field}")
    assert message in cause.message


@pytest.mark.parametrize(
    ("section", "field"),
    failure_cases.OUT_OF_BOUNDS.values(),
    ids=failure_cases.OUT_OF_BOUNDS.keys(),
)
async def test_a_budget_out_of_bounds_is_refused_at_its_field(
    kube: Kube, section: dict[str, Any], field: str
) -> None:
    error = await refusal(kube, experiment(good(failure=section)))
    assert isinstance(error, Invalid)
    assert f"spec.failure{field}" in [cause.field for cause in error.causes]


async def test_a_typo_is_refused_at_its_field(kube: Kube) -> None:
    typo = space(lr={"uniform": {"lower": 0, "upper": 1}}, act={"chioce": ["relu"]})
    error = await refusal(kube, experiment(typo))
    assert 'unknown field "spec.search.space.act.chioce"' in error.message


async def test_a_name_has_at_most_40_characters(kube: Kube) -> None:
    await kube.create(EXPERIMENTS, NAMESPACE, experiment(good(), "x" * 40), dry_run=True)
    error = await refusal(kube, experiment(good(), "x" * 41))
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
    "metadata of a template": labelled(
        labels={"app": "a", "mytuneoperator.io/b": "", "kueue.x-k8s.io/queue-name": "q"},
        annotations={"tuneoperator.io/note": "mine", "any": "1"},
        finalizers=["a.org/b"],
        creationTimestamp=None,
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
            "disruptions": {"policy": "Ignore", "max": 5},
            "maxFailedTrials": 2,
            "failFast": False,
            "rules": [failure_cases.rule("In", 42), failure_cases.rule("NotIn", 0, 42)],
            "nodeLost": {"timeoutSeconds": 5, "policy": "Wait"},
            "progressDeadlineSeconds": 3600,
        }
    ),
    "suspended": good(suspend=True),
    "all of cleanup": good(cleanup={"podTTLSeconds": 60, "keepErroredPods": 0}),
    **{f"failure: {name}": good(failure=case) for name, case in failure_cases.ACCEPTED.items()},
}


@pytest.mark.parametrize("spec", PASSES.values(), ids=PASSES.keys())
async def test_a_good_specification_is_stored_as_it_was_written(
    kube: Kube, spec: dict[str, Any]
) -> None:
    """Nothing is pruned and no default is added, so that re-applying it changes nothing."""
    stored = await kube.create(EXPERIMENTS, NAMESPACE, experiment(spec), dry_run=True)
    assert stored["spec"] == spec
