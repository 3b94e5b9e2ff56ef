"""The specification's models: defaults, spellings of numbers, and every refusal with its remedy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.objects import GOOD, REMOVED, good, labelled, space, template
from tests.unit.api.reading import read, refusal
from tune_operator.api.failure import Failure


def test_a_short_experiment_gets_the_documented_defaults() -> None:
    spec = read({key: GOOD[key] for key in ("objective", "search", "storage", "trainer")})
    assert (spec.num_samples, spec.max_concurrent_trials) == (1, 4)
    assert spec.search.seed is None
    assert spec.search.algorithm.kind == "random"
    assert spec.scheduler.kind == "fifo"
    assert spec.stop.criteria == {}
    assert (spec.checkpoint.frequency, spec.checkpoint.max_lost_seconds) == (0, 0)
    assert (spec.checkpoint.at_end, spec.checkpoint.on_preemption) == (False, True)
    assert (spec.checkpoint.keep.latest, spec.checkpoint.keep.best) == (2, 1)
    assert (spec.checkpoint.score_attribute, spec.checkpoint.score_order) == (None, None)
    assert (spec.storage.region, spec.storage.deletion_policy) == ("us-east-1", "Retain")
    assert spec.failure == Failure()
    assert spec.suspend is False
    assert (spec.cleanup.pod_ttl_seconds, spec.cleanup.keep_errored_pods) == (0, 10)
    assert spec.stop_grace_period_seconds == 120
    assert spec.template is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1e-4", 1e-4), ("0.25", 0.25), ("+.5", 0.5), ("1.", 1.0), (1, 1.0), (0.5, 0.5), ("-3", -3.0)],
)
def test_a_number_may_be_its_text(written: Any, meant: float) -> None:
    spec = read(space(x={"uniform": {"lower": written, "upper": "1e3"}}))
    assert spec.search.space["x"].uniform is not None
    assert spec.search.space["x"].uniform.lower == meant
    assert read(good(stop__criteria={"loss": written})).stop.criteria == {"loss": meant}


@pytest.mark.parametrize(("written", "meant"), [("1e3", 1000), ("7", 7), (7.0, 7), (-7, -7)])
def test_an_integer_may_be_its_text(written: Any, meant: int) -> None:
    dimension = read(space(x={"randint": {"lower": written, "upper": 10**6}})).search.space["x"]
    assert dimension.randint is not None
    assert dimension.randint.lower == meant
    assert type(dimension.randint.lower) is int


@pytest.mark.parametrize("amount", ["500m", 2, 0.5, "1.5Gi", "1e3", "4G"])
def test_a_quantity_stays_as_it_was_written(amount: Any) -> None:
    resources = read(good(trainer__resources={"requests": {"cpu": amount}})).trainer
    assert resources is not None
    assert resources.resources is not None
    assert resources.resources.requests == {"cpu": amount}


def test_values_keep_their_types() -> None:
    values = [1, 1.5, "1", True, None, [1], {"a": 1}]
    spec = read(space(c={"choice": values}, g={"gridSearch": values}, k={"constant": None}))
    assert spec.search.space["c"].choice == values
    assert [type(value) for value in spec.search.space["g"].grid_search or []] == [
        type(value) for value in values
    ]
    assert spec.search.space["k"].kind == "constant"
    assert spec.search.space["k"].chosen is None


def test_a_template_is_kept_raw() -> None:
    raw = template(hostUsers=False, volumes=[{"name": "data", "unheard": {"of": 1}}])
    assert read(raw).template == raw["template"]


U = "set exactly one of uniform, quniform, "
BOUNDS = "must be greater than lower (1.0): swap the bounds or widen the range"
IDENTITY = (
    "name, generateName, namespace and ownerReferences of metadata are set by the operator for the "
    "Pod of each attempt"
)

REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "typo in a field": (
        good(failure={"maxFailure": 3}),
        "spec.failure.maxFailure: unknown field; did you mean maxFailures?",
    ),
    "field in the wrong section": (
        good(maxFailures=3),
        "spec.maxFailures: unknown field; it belongs to spec.failure",
    ),
    "typo below a parameter": (
        space(lr={"uniform": {"lower": 0, "uper": 1}}),
        "spec.search.space.lr.uniform.uper: unknown field; did you mean upper?",
    ),
    "unheard-of field": (
        good(storage__bucket="a", storage__credentials=GOOD["storage"]["credentials"]),
        "spec.storage.bucket: unknown field; known here: uri, endpoint, region, credentials",
    ),
    "missing objective": (
        good(objective=REMOVED),
        "spec.objective: is required (What makes a trial better. Immutable)",
    ),
    "unknown mode": (good(objective__mode="maximum"), "must be 'min' or 'max', not 'maximum'"),
    "no samples": (good(numSamples=0), "spec.numSamples: must be at least 1, not 0"),
    "number of samples as text": (good(numSamples="8"), "must be an integer, not '8'"),
    "too much concurrency": (
        good(maxConcurrentTrials=1001),
        "spec.maxConcurrentTrials: must be at most 1000, not 1001",
    ),
    "unknown search type": (
        space(lr={"logunifrom": {"lower": 1, "upper": 2}}),
        "spec.search.space.lr.logunifrom: unknown field; did you mean loguniform?",
    ),
    "two search types": (
        space(lr={"uniform": {"lower": 0, "upper": 1}, "choice": [1]}),
        f"spec.search.space.lr: {U}",
    ),
    "no search type": (space(lr={}), f"spec.search.space.lr: {U}"),
    "null search type": (space(lr={"uniform": None}), f"spec.search.space.lr: {U}"),
    "empty space": (space(), "spec.search.space: must have at least 1 entries"),
    "too many parameters": (
        space(**{f"p{number}": {"constant": 1} for number in range(101)}),
        "spec.search.space: must have at most 100 entries",
    ),
    "name of a parameter": (
        good(search={"space": {"a b": {"constant": 1}}}),
        "spec.search.space: 'a b': a parameter's name starts with a letter",
    ),
    "long name of a parameter": (space(**{"x" * 64: {"constant": 1}}), "at most 63 characters"),
    "parameter inside a value": (
        good(search={"space": {"a/b": {"constant": 1}, "a": {"constant": 1}}}),
        "spec.search.space: 'a/b': a parameter cannot be a value and hold others",
    ),
    "bounds swapped": (
        space(lr={"uniform": {"lower": 1, "upper": 0}}),
        f"spec.search.space.lr.uniform.upper: {BOUNDS}",
    ),
    "bounds equal": (space(lr={"uniform": {"lower": 1, "upper": 1}}), BOUNDS),
    "log scale from zero": (
        space(lr={"loguniform": {"lower": 0, "upper": 1}}),
        "spec.search.space.lr.loguniform.lower: must be > 0 (log scale), not 0",
    ),
    "log scale of integers from zero": (
        space(n={"lograndint": {"lower": 0, "upper": 4}}),
        "spec.search.space.n.lograndint.lower: must be > 0 (log scale), not 0",
    ),
    "q does not divide": (
        space(lr={"quniform": {"lower": 0, "upper": 1, "q": 0.3}}),
        "spec.search.space.lr.quniform.q: upper (1.0) is not a multiple of q (0.3): change one",
    ),
    "q absurdly fine": (
        space(lr={"quniform": {"lower": 0, "upper": 1e300, "q": 1e-300}}),
        "is not a multiple of q",
    ),
    "q zero": (space(lr={"qrandn": {"q": 0}}), "spec.search.space.lr.qrandn.q: must be > 0, not 0"),
    "no multiple of q": (
        space(n={"qrandint": {"lower": 4, "upper": 5, "q": 3}}),
        "n.qrandint.q: no multiple of q (3) lies between lower (4) and upper (5): take a smaller q",
    ),
    "fraction for an integer": (
        space(n={"randint": {"lower": 0.5, "upper": 4}}),
        "n.randint.lower: must be an integer, without a fraction, not 0.5",
    ),
    "integer beyond 2^53": (
        space(n={"randint": {"lower": 0, "upper": 2**53 + 1}}),
        "must lie between -2^53 and 2^53",
    ),
    "text for a number": (
        space(lr={"uniform": {"lower": "small", "upper": 1}}),
        "lr.uniform.lower: must be a number such as 0.1 or 1e-4, not 'small'",
    ),
    "boolean for a number": (
        space(lr={"uniform": {"lower": True, "upper": 2}}),
        "must be a number such as 0.1 or 1e-4, not True",
    ),
    "map for a number": (
        space(lr={"uniform": {"lower": {"a": 1}, "upper": 2}}),
        "spec.search.space.lr.uniform.lower: must be a number such as 0.1 or 1e-4",
    ),
    "NaN": (
        space(lr={"uniform": {"lower": float("nan"), "upper": 1}}),
        "lr.uniform.lower: must be finite, not NaN or infinity, not nan",
    ),
    "overflowing text": (space(lr={"uniform": {"lower": 0, "upper": "1e999"}}), "must be finite"),
    "integer beyond floats": (
        space(lr={"uniform": {"lower": 0, "upper": 10**400}}),
        "lr.uniform.upper: is too large for a 64-bit float",
    ),
    "empty choice": (space(a={"choice": []}), "spec.search.space.a.choice: must have at least 1"),
    "endless grid axis": (space(a={"gridSearch": [1] * 1001}), "must have at most 1000 entries"),
    "unknown algorithm": (
        good(search__algorithm={"optuna": {}}),
        "spec.search.algorithm.optuna: unknown field; known here: random",
    ),
    "no algorithm": (
        good(search__algorithm={}),
        "spec.search.algorithm: set exactly one of random",
    ),
    "no scheduler": (good(scheduler={}), "spec.scheduler: set exactly one of fifo"),
    "criterion without a key": (good(stop__criteria={"": 1}), "a criterion is a key of a result"),
    "criterion without a bound": (
        good(stop__criteria={"loss": "low"}),
        "spec.stop.criteria.loss: must be a number such as 0.1 or 1e-4, not 'low'",
    ),
    "not a store": (
        good(storage__uri="http://minio/tune"),
        "spec.storage.uri: must be s3://bucket or s3://bucket/prefix, not 'http://minio/tune'",
    ),
    "way out of the prefix": (good(storage__uri="s3://tune/a/../b"), "must be s3://bucket"),
    "endpoint without a scheme": (
        good(storage__endpoint="minio:9000"),
        "spec.storage.endpoint: must be http://host:port or https://host:port, without a path",
    ),
    "credentials of a later mode": (
        good(storage__credentials__mode="Brokered"),
        "spec.storage.credentials.mode: must be 'Secret', not 'Brokered'",
    ),
    "one checkpoint alone": (
        good(checkpoint__keep={"latest": 1}),
        "spec.checkpoint.keep.latest: must be at least 2, not 1",
    ),
    "fewer than none of the best": (
        good(checkpoint__keep={"best": -1}),
        "spec.checkpoint.keep.best: must be at least 0, not -1",
    ),
    "order of scores": (
        good(checkpoint__scoreOrder="down"),
        "spec.checkpoint.scoreOrder: must be 'min' or 'max', not 'down'",
    ),
    "policy of deletion": (
        good(storage__deletionPolicy="Keep"),
        "spec.storage.deletionPolicy: must be 'Retain' or 'Delete', not 'Keep'",
    ),
    "backoff upside down": (
        good(failure__backoff={"initialSeconds": 400}),
        "spec.failure.backoff: maxSeconds must be at least initialSeconds",
    ),
    "grace too short": (
        good(stopGracePeriodSeconds=10),
        "spec.stopGracePeriodSeconds: must be at least 11, not 10",
    ),
    "trainer and template": (
        good(template=template()["template"]),
        "spec: set exactly one of trainer and template",
    ),
    "neither trainer nor template": (
        good(trainer=REMOVED),
        "spec: set exactly one of trainer and template",
    ),
    "entry point is a file": (
        good(trainer__entrypoint="digits.py"),
        "spec.trainer.entrypoint: must be module:name, such as digits:Digits, not 'digits.py'",
    ),
    "quantity": (
        good(trainer__resources={"limits": {"memory": "1 GB"}}),
        "spec.trainer.resources.limits.memory: must be a quantity such as 500m, 2 or 1Gi",
    ),
    "reserved variable": (
        good(trainer__env=[{"name": "TUNE_CA", "value": "x"}]),
        "spec.trainer.env[0]: names that start with TUNE_ are set by the operator: rename it",
    ),
    "variable twice": (
        good(trainer__env=[{"name": "A"}, {"name": "A", "value": "1"}]),
        "spec.trainer.env: 'A' is set twice: remove one",
    ),
    "variable with two values": (
        good(trainer__env=[{"name": "A", "value": "1", "valueFrom": {}}]),
        "spec.trainer.env[0]: set value or valueFrom, not both",
    ),
    "template without a trainer": (
        template(containers=[{"name": "main"}]),
        "spec.template: spec.containers needs a container named trainer",
    ),
    "template without containers": (
        good(trainer=REMOVED, template={}),
        "spec.template: spec.containers needs a container named trainer",
    ),
    "trainer restarted by the kubelet": (
        template(containers=[{"name": "trainer", "restartPolicy": "Always"}]),
        "spec.template: container trainer must not set restartPolicy",
    ),
    "Pod restarted by the kubelet": (
        template(restartPolicy="OnFailure"),
        "spec.template: spec.restartPolicy must be Never or absent",
    ),
    "our label": (
        labelled(labels={"tuneoperator.io/trial": "1"}),
        "spec.template: labels and finalizers of tuneoperator.io are set by the operator",
    ),
    "our finalizer": (
        labelled(finalizers=["tuneoperator.io/attempt-tracking"]),
        "spec.template: labels and finalizers of tuneoperator.io are set by the operator",
    ),
    **{
        f"{key} of the Pod": (
            labelled(**{key: value}),
            f"spec.template: {IDENTITY}: remove them",
        )
        for key, value in {
            "name": "mine",
            "generateName": "mine-",
            "namespace": "other",
            "ownerReferences": [],
        }.items()
    },
    "suspended in words": (good(suspend="yes"), "spec.suspend: must be true or false, not 'yes'"),
    "Pods that stay a negative time": (
        good(cleanup={"podTTLSeconds": -1}),
        "spec.cleanup.podTTLSeconds: must be at least 0, not -1",
    ),
    "Pods that stay for ever": (
        good(cleanup={"podTTLSeconds": 10**7}),
        "spec.cleanup.podTTLSeconds: must be at most 2592000",
    ),
    "capitals of podTTLSeconds": (
        good(cleanup={"podTtlSeconds": 1}),
        "spec.cleanup.podTtlSeconds: unknown field; did you mean podTTLSeconds?",
    ),
    "a loss below nothing": (
        good(checkpoint={"maxLostSeconds": -1}),
        "spec.checkpoint.maxLostSeconds: must be at least 0, not -1",
    ),
    "a loss of months": (
        good(checkpoint={"maxLostSeconds": 10**7}),
        "spec.checkpoint.maxLostSeconds: must be at most 2592000",
    ),
    "onPreemption in words": (
        good(checkpoint={"onPreemption": "sometimes"}),
        "spec.checkpoint.onPreemption: ",
    ),
    "too many Pods kept": (
        good(cleanup={"keepErroredPods": 201}),
        "spec.cleanup.keepErroredPods: must be at most 200, not 201",
    ),
}


@pytest.mark.parametrize(("spec", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_wrong_value_is_refused_with_its_place_and_remedy(
    spec: dict[str, Any], message: str
) -> None:
    assert message in refusal(spec)


def test_all_errors_are_told_at_once_up_to_ten() -> None:
    assert refusal(good(numSamples=0, maxConcurrentTrials=0)).count(": must be at least 1") == 2
    many = space(**{f"p{number}": {} for number in range(15)})
    assert refusal(many).endswith("; and 5 more")


def test_a_large_or_structured_value_is_not_repeated() -> None:
    assert "xxx" not in refusal(good(trainer__entrypoint="x" * 100))
    assert refusal(good(search__space=[1])).endswith("spec.search.space: must be a map")


def test_a_key_that_is_no_word_is_bracketed() -> None:
    spec = good(search={"space": {"a/b": {"choice": []}}})
    assert refusal(spec).startswith("spec.search.space[a/b].choice: ")
