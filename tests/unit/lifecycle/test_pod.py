"""The Pod of an attempt: whole golden files, and what must never happen to a user's template.

``TUNE_WRITE_GOLDEN=1`` rewrites the files; read the difference before committing it.
"""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.lifecycle.builders import experiment
from tune_operator.lifecycle import pod
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
CASES = {
    "trainer-minimal": MINIMAL,
    "trainer-full": FULL,
    "trainer-own-paths": OWN_PATHS,
    "template-minimal": experiment(trainer=None, template=SMALLEST_TEMPLATE),
    "template-rich": experiment(trainer=None, template=RICH_TEMPLATE),
}


def build(of: Experiment, config: Any = None) -> dict[str, Any]:
    return pod.build(of, "00003", 2, CONFIG if config is None else config, SESSION)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    made = build(CASES[name])
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
