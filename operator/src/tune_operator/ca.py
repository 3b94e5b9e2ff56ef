"""The authority trainers trust, kept in a Secret of the operator's own namespace."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from tune_operator.kube.client import Kube
from tune_operator.kube.errors import AlreadyExists, NotFound
from tune_operator.kube.resources import SECRETS
from tune_operator.reports.ca_secret import load_or_create_ca
from tune_operator.reports.certificates import KeyPair


async def serving_ca(kube: Kube, namespace: str, name: str) -> KeyPair:
    """The CA of Secret ``name``, made if there is none. Raises KubeError and CertificateError."""

    async def read() -> Mapping[str, bytes] | None:
        try:
            secret = await kube.get(SECRETS, namespace, name)
        except NotFound:
            return None
        return {key: base64.b64decode(text) for key, text in (secret.get("data") or {}).items()}

    async def create(data: Mapping[str, bytes]) -> bool:
        body = {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"app.kubernetes.io/managed-by": "tune-operator"},
            },
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        try:
            await kube.create(SECRETS, namespace, body)
        except AlreadyExists:
            return False
        return True

    return await load_or_create_ca(read, create)
