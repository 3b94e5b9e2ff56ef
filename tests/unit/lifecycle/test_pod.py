"""The Pod of an attempt: whole golden files, and what must never happen to a user's template.

``TUNE_WRITE_GOLDEN=1`` rewrites the files; read the difference before committing it.
"""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.lifecycle.builders import experiment
from tune_operator.lifecycle import placement, pod
from tune_operator.lifecycle.observation import Experiment

GOLDEN = Path(__file__).parent / "golden"
SESSION = pod.Session(
    "https://tune-operator.tune-system.svc:8443",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
)
CONFIG = {
    "lr": 0.01,
    "act": "relu",
    "layers": [64, 32],
    "optimizer": {"name": "sgd", "nesterov": True, "decay": None},
}
MINIMAL = experiment()
FULL = experiment(
    stopGracePeriodSeconds=300,
    trainer={
        "image": "ghcr.io/example/tune-trainer:1",
        "entrypoint": "digits:Digits",
        "sourceConfigMap": "digits-source",
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "OMP_NUM_THREADS", "value": "1"},
            {"name": "RATE", "value": "$(TUNE_PARAM_LR)"},
            {
                "name": "HF_TOKEN",
                "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}},
            },
        ],
    },
)
OWN_PATHS = experiment(
    trainer={
        "image": "ghcr.io/example/tune-trainer:1",
        "entrypoint": "digits:Digits",
        "sourceConfigMap": "digits-source",
        "env": [
            {"name": "TMPDIR", "value": "/scratch"},
            {"name": "PYTHONPATH", "value": "/lib"},
            {"name": "AWS_ACCESS_KEY_ID", "value": "mine"},
        ],
    },
)
SMALLEST_TEMPLATE = {"spec": {"containers": [{"name": "trainer", "image": "example/train:3"}]}}
RICH_TEMPLATE: dict[str, Any] = {
    "metadata": {
        "labels": {"team": "vision", "kueue.x-k8s.io/queue-name": "gpu"},
        "annotations": {"example.com/cost-centre": "42"},
        "finalizers": ["example.com/archive"],
    },
    "spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 45,
        "automountServiceAccountToken": True,
        "serviceAccountName": "trainer",
        "nodeSelector": {"pool": "spot"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "schedulingGates": [{"name": "example.com/wait"}],
        "initContainers": [{"name": "warm-up", "image": "example/warm:1"}],
        "containers": [
            {"name": "logs", "image": "example/logs:1", "env": [{"name": "A", "value": "b"}]},
            {
                "name": "trainer",
                "image": "example/train:3",
                "command": ["/train"],
                "args": ["--lr=$(TUNE_PARAM_LR)"],
                "terminationMessagePolicy": "File",
                "env": [
                    {"name": "TUNE_TRIAL", "value": "a forged one"},
                    {"name": "RATE", "value": "$(TUNE_PARAM_LR)"},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "resources": {"limits": {"nvidia.com/gpu": 1}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "x-unknown-field": {"kept": True},
            },
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "images"}}],
    },
}
OWN_TERM: dict[str, Any] = {
    "weight": 7,
    "preference": {
        "matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}],
    },
}
PLACED_TEMPLATE: dict[str, Any] = {
    "spec": {
        "containers": [{"name": "trainer", "image": "example/train:3"}],
        "tolerations": [
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}
                    ]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [OWN_TERM],
            },
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app": "noisy"}},
                    }
                ]
            },
        },
    }
}
CASES = {
    "trainer-minimal": MINIMAL,
    "trainer-full": FULL,
    "trainer-own-paths": OWN_PATHS,
    "template-minimal": experiment(trainer=None, template=SMALLEST_TEMPLATE),
    "template-rich": experiment(trainer=None, template=RICH_TEMPLATE),
    "template-placed": replace(
        experiment(
            failure={"nodeLost": {"timeoutSeconds": 90}},
            trainer=None,
            template=PLACED_TEMPLATE,
        ),
        labels={
            "kueue.x-k8s.io/queue-name": "cpu",
            "kueue.x-k8s.io/priority-class": "nightly",
            "team": "vision",
        },
    ),
}
AVOID = {"template-placed": ("node-a", "node-b")}
"""By name of the case: what its Pod had rather not run on."""


def build(of: Experiment, config: Any = None, avoid: Sequence[str] = ()) -> dict[str, Any]:
    return pod.build(of, "00003", 2, CONFIG if config is None else config, SESSION, avoid)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    made = build(CASES[name], avoid=AVOID.get(name, ()))
    if os.environ.get("TUNE_WRITE_GOLDEN") == "1":
        path.write_text(yaml.safe_dump(made, sort_keys=False, width=100))
    assert made == yaml.safe_load(path.read_text())


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)


def contains(whole: Any, part: Any) -> bool:
    """Whether every key and list entry of ``part`` is somewhere in the same place of ``whole``."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(contains(candidate, entry) for candidate in whole) for entry in part
        )
    return bool(whole == part)


def test_nothing_of_a_template_is_lost_but_what_is_reserved() -> None:
    expected = copy.deepcopy(RICH_TEMPLATE)
    expected["spec"]["containers"][1]["env"].pop(0)
    made = build(CASES["template-rich"])
    assert contains(made["metadata"], expected["metadata"])
    assert contains(made["spec"], expected["spec"])


def test_the_template_of_the_object_is_never_changed() -> None:
    of = experiment(trainer=None, template=copy.deepcopy(RICH_TEMPLATE))
    build(of)
    assert of.spec.template == RICH_TEMPLATE


@pytest.mark.parametrize("of", CASES.values(), ids=list(CASES))
def test_nothing_is_there_twice(of: Experiment) -> None:
    made = build(of)
    trainer = next(c for c in made["spec"]["containers"] if c["name"] == "trainer")
    for entries, key in (
        (trainer["env"], "name"),
        (trainer["volumeMounts"], "mountPath"),
        (made["spec"]["volumes"], "name"),
    ):
        names = [entry[key] for entry in entries]
        assert sorted(set(names)) == sorted(names)
    finalizers = made["metadata"]["finalizers"]
    assert len(set(finalizers)) == len(finalizers)


def variables(of: Experiment, config: Any = None) -> dict[str, str]:
    made = build(of, config)
    trainer = next(c for c in made["spec"]["containers"] if c["name"] == "trainer")
    return {v["name"]: v.get("value", "") for v in trainer["env"]}


def expand(value: str) -> str:
    """What the kubelet makes of a variable's value when no name in it is known (expand.go)."""
    out, rest = "", value
    while rest:
        if rest.startswith("$$"):
            out, rest = out + "$", rest[2:]
        elif rest.startswith("$(") and ")" in rest:
            name, rest = rest[2:].split(")", 1)
            out += f"<expanded {name}>"
        else:
            out, rest = out + rest[0], rest[1:]
    return out


@pytest.mark.parametrize(
    "text",
    ["plain", "$(HOME)", "$$(HOME)", "a$$b", "$", "$$", "$$$", "cost $5", "$(", "$(A)$(B)", "${X}"],
)
def test_a_parameter_reaches_the_trainer_as_it_is(text: str) -> None:
    assert expand(variables(MINIMAL, {"p": text})["TUNE_PARAM_P"]) == text


def test_parameters_are_text_or_json_by_their_path() -> None:
    assert pod.parameters(CONFIG) == {
        "TUNE_PARAM_LR": "0.01",
        "TUNE_PARAM_ACT": "relu",
        "TUNE_PARAM_LAYERS": "[64, 32]",
        "TUNE_PARAM_OPTIMIZER_NAME": "sgd",
        "TUNE_PARAM_OPTIMIZER_NESTEROV": "true",
        "TUNE_PARAM_OPTIMIZER_DECAY": "null",
    }


def test_what_the_user_refers_to_is_defined_before() -> None:
    names = list(variables(FULL))
    assert names.index("TUNE_PARAM_LR") < names.index("RATE")


def test_reserved_variables_of_a_template_are_replaced() -> None:
    assert variables(CASES["template-rich"])["TUNE_TRIAL"] == "00003"


def test_the_users_own_keys_win_over_the_secrets() -> None:
    assert variables(OWN_PATHS)["AWS_ACCESS_KEY_ID"] == "mine"
    assert variables(OWN_PATHS)["AWS_SECRET_ACCESS_KEY"] == ""


@pytest.mark.parametrize(
    ("of", "grace"),
    [
        pytest.param(MINIMAL, 110, id="ten seconds less than the bound"),
        pytest.param(experiment(stopGracePeriodSeconds=11), 1, id="at least one"),
        pytest.param(CASES["template-rich"], 45, id="the template's own"),
    ],
)
def test_the_trainer_knows_its_grace(of: Experiment, grace: int) -> None:
    assert build(of)["spec"]["terminationGracePeriodSeconds"] == grace
    assert variables(of)["TUNE_GRACE_SECONDS"] == str(grace)


def test_the_name_fits_a_label_and_tells_runs_apart() -> None:
    long = Experiment("team-a", "x" * 40, "uid-1", 1, None, has_finalizer=True, spec=MINIMAL.spec)
    again = Experiment("team-a", "x" * 40, "uid-2", 1, None, has_finalizer=True, spec=MINIMAL.spec)
    name = pod.name_of(long, "00199", 99999)
    assert len(name) <= 63
    assert name != pod.name_of(again, "00199", 99999)


def cut_off(key: str, seconds: int = 60) -> dict[str, Any]:
    """Our toleration of a node that does not answer."""
    return {
        "key": f"node.kubernetes.io/{key}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": seconds,
    }


def tolerating(*given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tolerations of a Pod whose template has these."""
    template = copy.deepcopy(SMALLEST_TEMPLATE)
    spec: dict[str, Any] = {**template["spec"], "tolerations": list(given)}
    made = build(experiment(trainer=None, template={"spec": spec}))
    return list(made["spec"]["tolerations"])


OURS = [cut_off("not-ready"), cut_off("unreachable")]


@pytest.mark.parametrize(
    ("given", "added"),
    [
        pytest.param({"key": "spot", "operator": "Exists"}, OURS, id="another key"),
        pytest.param({"operator": "Exists"}, [], id="everything"),
        pytest.param({"key": "", "operator": "Exists", "effect": ""}, [], id="the same, spelt out"),
        pytest.param(
            {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            [],
            id="every key for a time of its own",
        ),
        pytest.param(
            {"operator": "Exists", "effect": "NoSchedule"}, OURS, id="every key, at scheduling"
        ),
        pytest.param(cut_off("unreachable", 5), OURS[:1], id="one of ours for its own time"),
        pytest.param(
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
            OURS[1:],
            id="one of ours with every effect",
        ),
        pytest.param(
            {**cut_off("not-ready"), "effect": "NoSchedule"}, OURS, id="one of ours, at scheduling"
        ),
    ],
)
def test_a_template_that_tolerates_a_lost_node_is_left_alone(
    given: Mapping[str, Any], added: list[dict[str, Any]]
) -> None:
    assert tolerating(given) == [given, *added]


def test_a_pod_leaves_a_lost_node_after_the_time_of_the_experiment() -> None:
    of = experiment(failure={"nodeLost": {"timeoutSeconds": 90}})
    assert build(of)["spec"]["tolerations"] == [
        cut_off("not-ready", 90),
        cut_off("unreachable", 90),
    ]


def preferred(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    terms = made["spec"]["affinity"]["nodeAffinity"]
    return list(terms["preferredDuringSchedulingIgnoredDuringExecution"])


def shunned(term: Mapping[str, Any]) -> list[str]:
    """The nodes a term is against, each demanded by itself: a field takes one value."""
    return [field["values"][0] for field in term["preference"]["matchFields"]]


def test_nothing_to_avoid_leaves_the_affinity_as_it_is() -> None:
    assert "affinity" not in build(MINIMAL)["spec"]
    assert (
        build(CASES["template-placed"])["spec"]["affinity"] == PLACED_TEMPLATE["spec"]["affinity"]
    )


def test_avoided_nodes_make_one_term_beside_the_templates_own() -> None:
    own, ours = preferred(build(CASES["template-placed"], avoid=["a", "b"]))
    assert own == OWN_TERM
    assert shunned(ours) == ["a", "b"]


def test_the_latest_three_nodes_are_avoided_each_once() -> None:
    (term,) = preferred(build(MINIMAL, avoid=["a", "a", "b", "c", "d"]))
    assert shunned(term) == ["b", "c", "d"]
    assert len(shunned(term)) == placement.MAX_AVOIDED


def test_an_affinity_that_is_null_is_none() -> None:
    spec = {**SMALLEST_TEMPLATE["spec"], "affinity": None, "tolerations": None}
    made = build(experiment(trainer=None, template={"spec": spec}), avoid=["a"])
    assert shunned(preferred(made)[0]) == ["a"]
    assert made["spec"]["tolerations"] == OURS


def queued(of: Experiment) -> dict[str, str]:
    labels = build(of)["metadata"]["labels"]
    return {key: labels[key] for key in labels if key.startswith("kueue.x-k8s.io/")}


QUEUE = {"kueue.x-k8s.io/queue-name": "cpu", "kueue.x-k8s.io/priority-class": "nightly"}


def test_the_queue_of_the_experiment_is_that_of_its_pods() -> None:
    assert queued(replace(MINIMAL, labels={**QUEUE, "team": "vision"})) == QUEUE


def test_the_queue_of_the_template_wins() -> None:
    of = replace(CASES["template-rich"], labels=QUEUE)
    assert queued(of) == {**QUEUE, "kueue.x-k8s.io/queue-name": "gpu"}


def test_other_labels_of_the_experiment_stay_its_own() -> None:
    assert "team" not in build(replace(MINIMAL, labels={"team": "vision"}))["metadata"]["labels"]
