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
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


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


def restricted_template(image: str, entrypoint: str, source: str) -> dict[str, Any]:
    """A Pod that the restricted Pod Security standard allows; its code comes from a ConfigMap."""
    trainer = {
        "name": "trainer",
        "image": image,
        "args": [entrypoint],
        "env": [{"name": "PYTHONPATH", "value": _WORKSPACE}],
        "securityContext": dict(_RESTRICTED),
        "volumeMounts": [{"name": "source", "mountPath": _WORKSPACE, "readOnly": True}],
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [trainer],
        "volumes": [{"name": "source", "configMap": {"name": source}}],
    }
    return {"spec": spec}


def unruly_template(
    *, grace: int | None = None, sidecar: bool = False, **resources: Any
) -> dict[str, Any]:
    """`unruly` as a whole Pod, whose trainer writes to its own files; a sidecar never ends."""
    template = restricted_template(IMAGE, "unruly:Unruly", UNRULY_SOURCE)
    spec = template["spec"]
    spec["containers"][0]["resources"] = resources
    if sidecar:
        idle = {
            "name": "idle",
            "image": IMAGE,
            "command": ["sleep", "infinity"],
            "securityContext": _RESTRICTED,
        }
        spec["containers"].insert(0, idle)
    if grace is not None:
        spec["terminationGracePeriodSeconds"] = grace
    return template
