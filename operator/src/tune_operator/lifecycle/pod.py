"""The Pod of one attempt, as a raw dictionary (DESIGN 5.2, 7).

A template is the user's: what it says stands, and no key of it is doubled. We add what the
protocol needs: identity, the tracking finalizer, the session's environment, the Pod-bound token.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_operator.api import constants
from tune_operator.api.trainer import Trainer
from tune_operator.lifecycle import placement
from tune_operator.lifecycle.observation import Experiment, labels, pod_name
from tune_operator.lifecycle.pod_view import PodView
from tune_trainer.protocol import environment as env

TOKEN_MOUNT = "/var/run/secrets/tuneoperator.io"  # noqa: S105 - a path
TOKEN_SECONDS = 3600
WORKSPACE = "/workspace"
SCRATCH = "/tmp"  # noqa: S108 - a mount of the Pod's own
_TOKEN_VOLUME = "tune-token"  # noqa: S105 - a name
_KUEUE = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class")
_CREDENTIALS = (env.ACCESS_KEY, env.SECRET_KEY, env.SESSION_TOKEN)


@dataclass(frozen=True)
class Session:
    """Where trainers find this operator: URL without path, and its CA in PEM."""

    url: str
    ca: str


def build(
    experiment: Experiment,
    trial: str,
    attempt: int,
    config: Mapping[str, Any],
    session: Session,
    avoid: Sequence[str] = (),
) -> dict[str, Any]:
    """The complete Pod of (trial, attempt). ``config`` is the trial's nested configuration.

    ``avoid`` names nodes that it had rather not run on, the latest last.
    """
    spec = experiment.spec
    base = _from_trainer(spec.trainer) if spec.trainer else copy.deepcopy(spec.template or {})
    metadata = base.get("metadata") or {}
    body = base["spec"]
    body.setdefault("restartPolicy", "Never")
    body.setdefault("terminationGracePeriodSeconds", experiment.grace_seconds)
    body["volumes"] = [*(body.get("volumes") or []), _token_volume()]
    _place(body, spec.failure.node_lost.timeout_seconds, avoid)
    container = next(c for c in body["containers"] if c["name"] == constants.TRAINER_CONTAINER)
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    container["env"] = _environment(experiment, trial, attempt, config, session, container)
    mount = {"name": _TOKEN_VOLUME, "mountPath": TOKEN_MOUNT, "readOnly": True}
    container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name_of(experiment, trial, attempt),
            "namespace": experiment.namespace,
            "labels": {
                **_queue(experiment),
                **(metadata.get("labels") or {}),
                **labels(experiment, trial, attempt),
            },
            "annotations": dict(metadata.get("annotations") or {}),
            "finalizers": [*(metadata.get("finalizers") or []), constants.POD_FINALIZER],
            "ownerReferences": [_owner(experiment)],
        },
        "spec": body,
    }


def _place(body: dict[str, Any], timeout_seconds: int, avoid: Sequence[str]) -> None:
    body["tolerations"] = placement.tolerations(body.get("tolerations") or [], timeout_seconds)
    if avoid:
        body["affinity"] = placement.affinity(body.get("affinity"), avoid)


def _queue(experiment: Experiment) -> dict[str, str]:
    """Kueue queues the Pods, each by itself: an experiment only hands its queue on."""
    return {key: experiment.labels[key] for key in _KUEUE if key in experiment.labels}


def name_of(experiment: Experiment, trial: str, attempt: int) -> str:
    """Name of the Pod of (trial, attempt)."""
    return pod_name(experiment.name, _digest(experiment.uid), trial, attempt)


def is_attempt(pod: PodView) -> bool:
    """Whether an operator made this Pod: it has our finalizer, or the name that its labels say.

    Labels alone are anybody's, and a Pod that only carries them is not ours to delete.
    """
    named = pod_name(pod.experiment, _digest(pod.experiment_uid), pod.trial, pod.attempt)
    return pod.tracked or pod.name == named


def _digest(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:5]


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """``TUNE_PARAM_*`` variables: text as it is, everything else as JSON."""
    return {
        env.param_variable(path): value if isinstance(value, str) else json.dumps(value)
        for path, value in env.flatten(config).items()
    }


def _environment(
    experiment: Experiment,
    trial: str,
    attempt: int,
    config: Mapping[str, Any],
    session: Session,
    container: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Ours first, so that ``$(TUNE_PARAM_LR)`` works in the user's variables and arguments."""
    given = list(container.get("env") or [])
    spec = experiment.spec
    secret = spec.storage.credentials.secret_ref.name
    plain = {
        env.SESSION_URL: session.url,
        env.CA: session.ca,
        env.TOKEN_FILE: f"{TOKEN_MOUNT}/token",
        env.TRIAL: trial,
        env.ATTEMPT: str(attempt),
        env.GRACE_SECONDS: str(experiment.grace_seconds),
        **({env.ENTRYPOINT: spec.trainer.entrypoint} if spec.trainer else {}),
        **parameters(config),
    }
    # The kubelet expands $(NAME) in values and reads $$ as $: doubled, every text stays as it is.
    ours: list[dict[str, Any]] = [
        {"name": key, "value": text.replace("$", "$$")} for key, text in plain.items()
    ]
    taken = {variable["name"] for variable in given}
    for key in _CREDENTIALS:
        if key not in taken:
            reference = {"name": secret, "key": key, "optional": key == env.SESSION_TOKEN}
            ours.append({"name": key, "valueFrom": {"secretKeyRef": reference}})
    reserved = {variable["name"] for variable in ours}
    return [*ours, *(variable for variable in given if variable["name"] not in reserved)]


def _from_trainer(trainer: Trainer) -> dict[str, Any]:
    """The short form as a template: non-root, read-only, nothing a restricted namespace refuses."""
    container: dict[str, Any] = {
        "name": constants.TRAINER_CONTAINER,
        "image": trainer.image,
        "args": [trainer.entrypoint],
        "env": [v.model_dump(by_alias=True, exclude_none=True) for v in trainer.env],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tune-scratch", "mountPath": SCRATCH}],
    }
    _unless_given(container["env"], "TMPDIR", SCRATCH)
    if trainer.resources:
        container["resources"] = trainer.resources.model_dump(by_alias=True, exclude_none=True)
    if trainer.image_pull_policy:
        container["imagePullPolicy"] = trainer.image_pull_policy
    volumes: list[dict[str, Any]] = [{"name": "tune-scratch", "emptyDir": {}}]
    if trainer.source_config_map:
        source = {"name": "tune-source", "configMap": {"name": trainer.source_config_map}}
        volumes.append(source)
        container["workingDir"] = WORKSPACE
        container["volumeMounts"].append(
            {"name": "tune-source", "mountPath": WORKSPACE, "readOnly": True}
        )
        _unless_given(container["env"], "PYTHONPATH", WORKSPACE)
    return {
        "spec": {
            # It speaks to our server with the projected token; it has no business with the API.
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        }
    }


def _unless_given(variables: list[dict[str, Any]], name: str, value: str) -> None:
    if not any(variable["name"] == name for variable in variables):
        variables.append({"name": name, "value": value})


def _token_volume() -> dict[str, Any]:
    token = {
        "audience": constants.TOKEN_AUDIENCE,
        "expirationSeconds": TOKEN_SECONDS,
        "path": "token",
    }
    return {"name": _TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}


def _owner(experiment: Experiment) -> dict[str, Any]:
    return {
        "apiVersion": f"{constants.GROUP}/{constants.VERSION}",
        "kind": constants.KIND,
        "name": experiment.name,
        "uid": experiment.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
