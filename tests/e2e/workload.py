"""What the experiments of these tests train: changes to the manifest of the digits example."""

from typing import Any

SPACE = {
    "lr": {"loguniform": {"lower": 0.0001, "upper": 0.1}},
    "act": {"choice": ["relu", "tanh"]},
}

IMAGE = "dev.local/digits:dev"
UNRULY_SOURCE = "unruly-source"
"""ConfigMap with the modules ``digits`` and ``unruly``."""

_WORKSPACE = "/workspace"


def slow(iterations: int, seconds: float, trials: int = 1, **behaviour: Any) -> dict[str, Any]:
    """Changes that make a short experiment of steps slow enough to interrupt.

    ``behaviour`` are further parameters of the trainer. The same seed and dimensions: whatever
    else differs, trial 00000 is the same trial in all of them.
    """
    constants = {"step_seconds": seconds, **behaviour}
    fixed = {name: {"constant": value} for name, value in constants.items()}
    return {
        "numSamples": trials,
        "search": {"seed": 11, "space": {**SPACE, **fixed}},
        "stop": {"criteria": {"training_iteration": iterations}},
        "checkpoint": {"frequency": 5, "atEnd": True},
        "failure": {"maxFailures": 3, "backoff": {"initialSeconds": 0}},
    }


def unruly(**resources: Any) -> dict[str, Any]:
    """Section ``trainer`` for `tests/e2e/unruly.py`."""
    return {
        "image": IMAGE,
        "entrypoint": "unruly:Unruly",
        "sourceConfigMap": UNRULY_SOURCE,
        "resources": resources,
    }


def unruly_template(
    *, grace: int | None = None, sidecar: bool = False, **resources: Any
) -> dict[str, Any]:
    """The same as a whole Pod, whose trainer writes to its own files; a sidecar never ends."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    trainer = {
        "name": "trainer",
        "image": IMAGE,
        "args": ["unruly:Unruly"],
        "env": [{"name": "PYTHONPATH", "value": _WORKSPACE}],
        "resources": resources,
        "securityContext": restricted,
        "volumeMounts": [{"name": "source", "mountPath": _WORKSPACE, "readOnly": True}],
    }
    idle = {
        "name": "idle",
        "image": IMAGE,
        "command": ["sleep", "infinity"],
        "securityContext": restricted,
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [idle, trainer] if sidecar else [trainer],
        "volumes": [{"name": "source", "configMap": {"name": UNRULY_SOURCE}}],
    }
    if grace is not None:
        spec["terminationGracePeriodSeconds"] = grace
    return {"spec": spec}
