"""Opening the store an experiment names, with the keys of the one Secret its tenant named."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from tune_operator.api.storage import Storage
from tune_operator.kube import errors as kube_errors
from tune_operator.kube.client import Kube
from tune_operator.kube.resources import SECRETS
from tune_operator.lifecycle.conditions import Finding
from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.errors import StoreError
from tune_operator.store.factory import open_store
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol import environment

Observe = Callable[[str, float, str | None], None]


class StorageProblem(Exception):
    """The store cannot be used; ``finding`` is for condition StorageAvailable."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(ok=False, reason=reason, message=message)


def problem(error: StoreError) -> StorageProblem:
    """A store's error as a finding; its class is the reason."""
    return StorageProblem(type(error).__name__, error.message)


async def connect(kube: Kube, namespace: str, storage: Storage, observe: Observe) -> ObjectStore:
    """A client for the store; nothing is sent to it yet.

    Raises StorageProblem for a Secret that is missing, forbidden or incomplete and for a bad
    location; kube errors of other kinds (Transient, ...) pass through.
    """
    name = storage.credentials.secret_ref.name
    try:
        secret = await kube.get(SECRETS, namespace, name)
    except kube_errors.NotFound:
        raise StorageProblem(
            "SecretNotFound",
            f"spec.storage.credentials.secretRef: there is no Secret {name!r} in namespace "
            f"{namespace!r}: create it with {environment.ACCESS_KEY} and {environment.SECRET_KEY}",
        ) from None
    except kube_errors.Forbidden:
        raise StorageProblem(
            "SecretForbidden",
            f"the operator may not read Secret {name!r} in namespace {namespace!r}: give its "
            "ServiceAccount the verb get on this one Secret by a Role and RoleBinding, as "
            "examples/digits/rbac.yaml does",
        ) from None
    try:
        return open_store(
            storage.uri, storage.endpoint, storage.region, _credentials(secret, name), observe
        )
    except StoreError as error:
        raise problem(error) from None


def _credentials(secret: Mapping[str, Any], name: str) -> StaticCredentials:
    values = {}
    for key in (environment.ACCESS_KEY, environment.SECRET_KEY, environment.SESSION_TOKEN):
        try:
            text = base64.b64decode((secret.get("data") or {}).get(key, ""), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise StorageProblem("SecretInvalid", f"Secret {name!r}: {key} is no text") from None
        values[key] = text.strip()
    for key in (environment.ACCESS_KEY, environment.SECRET_KEY):
        if not values[key]:
            raise StorageProblem("SecretIncomplete", f"Secret {name!r} has no key {key}: add it")
    return StaticCredentials(
        values[environment.ACCESS_KEY],
        values[environment.SECRET_KEY],
        values[environment.SESSION_TOKEN] or None,
    )
