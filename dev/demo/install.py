"""Installs what experiments need: the chart, then namespace, rights and keys of the example."""

import base64
import time
from typing import Any

import yaml

from dev.demo.bucket import Keys
from dev.demo.errors import StepFailed
from dev.demo.screen import Screen
from dev.demo.shell import Shell
from dev.demo.target import NAMESPACE, RELEASE, ROOT, SYSTEM_NAMESPACE, Images

EXAMPLE = ROOT / "examples" / "digits"
STORE_SERVICE = f"{RELEASE}-minio"


def chart(shell: Shell, screen: Screen, images: Images) -> None:
    """`helm install`, with a MinIO that lives as long as the cluster."""
    screen.step("The operator and a MinIO, by Helm")
    values: dict[str, Any] = {
        "image": _image(images.operator),
        # The image's name stays the same when it is built anew: this makes the newest one run.
        "podAnnotations": {"tuneoperator.io/installed-at": str(int(time.time()))},
        "minio": {"enabled": True, "persistence": {"enabled": False}},
    }
    if images.minio is not None:
        values["minio"]["image"] = _image(images.minio)
    try:
        shell.run(
            *("helm", "upgrade", "--install", RELEASE, str(ROOT / "charts" / "tune-operator")),
            *("--namespace", SYSTEM_NAMESPACE, "--create-namespace"),
            *("--wait", "--timeout=180s", "--values=-"),
            stdin=yaml.safe_dump(values),
        )
    except StepFailed as error:
        # Helm only says that it waited in vain; the Pods say why.
        pods = shell.run("kubectl", "--namespace", SYSTEM_NAMESPACE, "get", "pods")
        raise StepFailed(f"{error}\n{pods.rstrip()}") from None
    screen.say(f"   release {RELEASE} in namespace {SYSTEM_NAMESPACE} is ready")


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def example(shell: Shell, screen: Screen) -> Keys:
    """Namespace, rights, keys and source of the digits example; returns the keys."""
    screen.step("A namespace for experiments, its storage keys and its code")
    kubectl = ("kubectl", "--namespace", NAMESPACE)
    shell.run("kubectl", "apply", f"--filename={EXAMPLE / 'namespace.yaml'}")
    shell.run("kubectl", "apply", f"--filename={EXAMPLE / 'rbac.yaml'}")
    # What an earlier run of the demo left on this cluster would be taken for this run's.
    shell.run(*kubectl, "delete", "tuneexperiments", "--all", "--timeout=180s")
    data = shell.json(
        *("kubectl", "--namespace", SYSTEM_NAMESPACE, "get", "secret", STORE_SERVICE),
        "--output=json",
    )["data"]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "digits-storage", "namespace": NAMESPACE},
        "data": data,
    }
    shell.run("kubectl", "apply", "--filename=-", stdin=yaml.safe_dump(secret))
    source = shell.run(
        *(*kubectl, "create", "configmap", "digits-source", "--dry-run=client", "--output=yaml"),
        f"--from-file={EXAMPLE / 'digits.py'}",
    )
    shell.run(*kubectl, "apply", "--filename=-", stdin=source)
    screen.say(f"   namespace {NAMESPACE}: Secret digits-storage, ConfigMap digits-source")
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    access_key, secret_key = (base64.b64decode(data[name]).decode() for name in names)
    return Keys(access_key, secret_key)
