"""A local view of one kind by list and watch: a reconcile reads hundreds of Pods at no cost.

It is always a little old. Whatever destroys something reads live first.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic

from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Forbidden, Gone, KubeError, TooManyRequests
from tune_operator.kube.record_store import RecordStore, T
from tune_operator.kube.resources import Resource
from tune_operator.runtime.backoff import Backoff
from tune_operator.runtime.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

RETRY = Backoff(initial=0.2, maximum=10.0, jitter=0.5)
IDLE_PAUSE = 0.2  # seconds after a watch that ended without a word; else such a server is flooded


class _Scope(Generic[T]):
    """One list-watch: a namespace, or all of them (None)."""

    def __init__(self, namespace: str | None, now: float) -> None:
        self.namespace = namespace
        self.store = RecordStore[T]()
        self.listed = False
        self.contact = now
        self.failures = 0  # in a row, without a word from the server in between


class Informer(Generic[T]):
    """Keeps a record of every matching object; `on_change` is told of each that changed.

    namespaces: empty means all, and is right for what is in none. project: reads a raw object into
    a frozen dataclass; an object it fails on is left out and logged. on_change: gets the new
    record, or the last known one of an object that is gone; it must not block. denied: how long to
    wait while it is forbidden; a view that one can do without asks seldom.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        namespaces: Sequence[str],
        label_selector: str,
        project: Callable[[Mapping[str, Any]], T],
        on_change: Callable[[T], None],
        *,
        denied: Backoff = RETRY,
        clock: Clock | None = None,
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._selector = label_selector
        self._project = project
        self._on_change = on_change
        self._denied = denied
        self._clock = clock or SystemClock()
        now = self._clock.monotonic()
        self._scopes = {name: _Scope[T](name, now) for name in (namespaces or (None,))}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow all scopes for ever; `synced` is set when each was listed once."""
        async with asyncio.TaskGroup() as group:
            for scope in self._scopes.values():
                group.create_task(self._follow(scope), name=f"informer {scope.namespace or 'all'}")

    def get(self, namespace: str, name: str) -> T | None:
        """The record of this name, as far as known."""
        scope = self._scope(namespace)
        return scope.store.get(namespace, name) if scope else None

    def all(self) -> tuple[T, ...]:
        """All known records, in no particular order."""
        return tuple(record for scope in self._scopes.values() for record in scope.store.all())

    def of(self, namespace: str, experiment_uid: str) -> tuple[T, ...]:
        """All known records of one experiment, in no particular order.

        Of its own namespace only: the UID is a label, and other tenants may write it too (P12).
        """
        scope = self._scope(namespace)
        known = scope.store.of(experiment_uid) if scope else ()
        return tuple(record for record in known if record.namespace == namespace)

    def observe(self, raw: Mapping[str, Any]) -> None:
        """Take in the answer to a write of our own before the watch tells it."""
        if not raw["metadata"].get("resourceVersion"):
            return  # of an object that went away meanwhile; the watch tells when
        scope = self._scope(raw["metadata"]["namespace"])
        record = self._read(raw)
        if scope is not None and record is not None:
            self._tell(scope.store.observe(record))

    def age_seconds(self) -> float:
        """Seconds since every scope last heard of the API server: how old the view may be."""
        return self._clock.monotonic() - min(scope.contact for scope in self._scopes.values())

    def _scope(self, namespace: str) -> _Scope[T] | None:
        return self._scopes.get(namespace) or self._scopes.get(None)

    async def _follow(self, scope: _Scope[T]) -> None:
        fresh = False  # whether `seen` can be watched from
        while True:
            try:
                if not fresh:
                    await self._list(scope)
                    fresh = True
                heard = await self._watch(scope)
                scope.failures = 0
                if not heard:
                    await self._clock.sleep(IDLE_PAUSE)
            except KubeError as error:
                fresh = fresh and not isinstance(error, Gone)
                scope.failures += 1
                backoff = self._denied if isinstance(error, Forbidden) else RETRY
                wait = backoff.delay(scope.failures)
                if isinstance(error, TooManyRequests):
                    wait = max(wait, error.retry_after)
                logger.warning("%s; again in %.1f s", error, wait)
                await self._clock.sleep(wait)

    async def _list(self, scope: _Scope[T]) -> None:
        records: list[T] = []
        version = ""
        pages = self._kube.pages(self._resource, scope.namespace, label_selector=self._selector)
        async for page, version in pages:  # noqa: B007 - all pages have the same one
            records += [record for raw in page if (record := self._read(raw)) is not None]
        scope.contact = self._clock.monotonic()
        self._tell(scope.store.replace_all(records, version))
        scope.listed = True
        if all(other.listed for other in self._scopes.values()):
            self.synced.set()

    async def _watch(self, scope: _Scope[T]) -> bool:
        """Follow one watch to its end; whether it said anything."""
        heard = False
        events = self._kube.watch(
            self._resource,
            scope.namespace,
            str(scope.store.seen),
            label_selector=self._selector,
        )
        async with aclosing(events):
            async for kind, raw in events:
                heard = True
                scope.failures = 0
                scope.contact = self._clock.monotonic()
                self._hear(scope, kind, raw)
        scope.contact = self._clock.monotonic()
        return heard

    def _hear(self, scope: _Scope[T], kind: str, raw: Mapping[str, Any]) -> None:
        if kind == "BOOKMARK":
            scope.store.bookmark(raw["metadata"]["resourceVersion"])
        elif (record := self._read(raw)) is not None:
            self._tell(scope.store.event(kind, record))

    def _read(self, raw: Mapping[str, Any]) -> T | None:
        """The record of `raw`. Tenants make Pods too: one that is odd must not stop the rest."""
        try:
            return self._project(raw)
        except Exception:
            meta = raw.get("metadata", {})
            logger.exception(
                "cannot read %s %s/%s", self._resource.kind, meta.get("namespace"), meta.get("name")
            )
            return None

    def _tell(self, changed: list[T]) -> None:
        for record in changed:
            self._on_change(record)
