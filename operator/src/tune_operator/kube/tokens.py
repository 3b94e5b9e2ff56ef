"""Which Pod a bearer token belongs to, asked of the API server (TokenReview)."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tune_operator.kube.client import Kube
from tune_operator.kube.errors import KubeError
from tune_operator.reports.identity import PodIdentity
from tune_operator.runtime.clock import Clock, SystemClock

CACHE_SECONDS = 60.0  # an answer may outlive its Pod by this long
CACHE_LIMIT = 4096
MAX_PARALLEL = 8  # reviews in flight, whatever arrives

USERNAME_PREFIX = "system:serviceaccount:"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"


class TokenAuthenticator:
    """Remembers who a token belongs to for a minute; "nobody" is never remembered."""

    def __init__(self, kube: Kube, audience: str, clock: Clock | None = None) -> None:
        self._kube = kube
        self._audience = audience
        self._clock = clock or SystemClock()
        self._known: OrderedDict[bytes, tuple[float, PodIdentity]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[PodIdentity | None]] = {}
        self._limit = asyncio.Semaphore(MAX_PARALLEL)
        self.failed_at: datetime | None = None
        """When the API server last could not be asked: then somebody was turned away unheard."""

    async def authenticate(self, token: str) -> PodIdentity | None:
        """The Pod the token is bound to; None if it is no valid token for our audience.

        Raises KubeError when the API server cannot be asked: that says nothing about the token.
        """
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and self._clock.monotonic() < known[0]:
            return known[1]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._ask(key, token))
            task.add_done_callback(lambda done: self._answered(key, done))
        # Shielded: of several who wait for one answer, the first may hang up.
        return await asyncio.shield(task)

    async def _ask(self, key: bytes, token: str) -> PodIdentity | None:
        asked = self._clock.monotonic()
        async with self._limit:
            try:
                status = await self._kube.token_review(token, [self._audience])
            except KubeError:
                self.failed_at = self._clock.now()
                raise
        pod = identity(status, self._audience)
        if pod is not None:
            self._known[key] = (asked + CACHE_SECONDS, pod)
            self._known.move_to_end(key)
            if len(self._known) > CACHE_LIMIT:
                self._known.popitem(last=False)
        return pod

    def _answered(self, key: bytes, task: asyncio.Task[PodIdentity | None]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # read, should all who waited have hung up


def identity(status: Mapping[str, Any], audience: str) -> PodIdentity | None:
    """The Pod in a TokenReview's status; None unless bound to one and meant for `audience`."""
    if status.get("authenticated") is not True or audience not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    extra = user.get("extra") or {}
    username = user.get("username") or ""
    namespace, _, account = username.removeprefix(USERNAME_PREFIX).partition(":")
    match (extra.get(POD_NAME), extra.get(POD_UID)):
        case [[str(name)], [str(uid)]] if username.startswith(USERNAME_PREFIX) and account:
            return PodIdentity(namespace=namespace, name=name, uid=uid)
    return None
