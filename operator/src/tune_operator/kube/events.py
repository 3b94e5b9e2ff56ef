"""Kubernetes Events, for people who run `kubectl describe`. Losing one is better than waiting."""

import asyncio
import contextlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from tune_operator.kube.client import Kube
from tune_operator.kube.errors import AlreadyExists, KubeError, TooManyRequests, Transient
from tune_operator.kube.resources import EVENTS
from tune_operator.kube.transport import Object
from tune_operator.runtime.backoff import Backoff
from tune_operator.runtime.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

QUEUE_LIMIT = 1000
REPEAT_SECONDS = 300.0  # an identical event within this time says nothing new
REMEMBERED = 4096
MESSAGE_LIMIT = 1024  # characters; the API server's own bound
NAME_LIMIT = 230  # of 253, the rest makes the event's name unique
ATTEMPTS = 3
RETRY = Backoff(initial=1.0, maximum=10.0, jitter=0.2)


class EventRecorder:
    """Queues events and writes them one after the other, in `run`."""

    def __init__(
        self, kube: Kube, component: str = "tune-operator", clock: Clock | None = None
    ) -> None:
        self._kube = kube
        self._component = component
        self._clock = clock or SystemClock()
        self._queue: asyncio.Queue[Object] = asyncio.Queue(QUEUE_LIMIT)
        self._closed = False
        self._emitted: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def emit(self, involved: Mapping[str, Any], type: str, reason: str, message: str) -> None:  # noqa: A002 - the field's name in an Event
        """Tell something about the object `involved` (raw, with apiVersion and kind).

        type: Normal or Warning. Never waits and never raises for reasons of the cluster: identical
        events within five minutes and what the queue does not hold are dropped.
        """
        if self._repeated((involved["metadata"]["uid"], type, reason, message)):
            return
        try:
            self._queue.put_nowait(self._event(involved, type, reason, message))
        except asyncio.QueueFull:
            logger.warning("too many events; dropped %s: %s", reason, message)

    async def run(self) -> None:
        """Write events until `close`, and then what is still queued."""
        while not (self._closed and self._queue.empty()):
            if event := await self._queue.get():
                await self._write(event)

    def close(self) -> None:
        """Let `run` end when everything queued was written."""
        self._closed = True
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait({})  # wakes `run`; a full queue need not be woken

    def _repeated(self, key: tuple[str, ...]) -> bool:
        now = self._clock.monotonic()
        last = self._emitted.get(key)
        if last is not None and now - last < REPEAT_SECONDS:
            return True
        self._emitted[key] = now
        self._emitted.move_to_end(key)
        if len(self._emitted) > REMEMBERED:
            self._emitted.popitem(last=False)
        return False

    def _event(self, involved: Mapping[str, Any], kind: str, reason: str, message: str) -> Object:
        meta = involved["metadata"]
        now = self._clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "metadata": {
                # Fixed here, so that writing it again after a lost answer makes no second one.
                "name": f"{meta['name'][:NAME_LIMIT]}.{secrets.token_hex(8)}",
                "namespace": meta["namespace"],
            },
            "involvedObject": {
                "apiVersion": involved.get("apiVersion", ""),
                "kind": involved.get("kind", ""),
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
                "resourceVersion": meta.get("resourceVersion", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message[:MESSAGE_LIMIT],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._component,
        }

    async def _write(self, event: Object) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._kube.create(EVENTS, event["metadata"]["namespace"], event)
                return
            except AlreadyExists:
                return
            except (Transient, TooManyRequests) as error:
                wait = RETRY.delay(attempt)
                if isinstance(error, TooManyRequests):
                    wait = max(wait, error.retry_after)
                if attempt < ATTEMPTS:
                    await self._clock.sleep(wait)
            except KubeError as error:  # often a namespace that is going away
                logger.info("event %s not written: %s", event["reason"], error)
                return
        logger.warning("event %s not written: the API server does not answer", event["reason"])
