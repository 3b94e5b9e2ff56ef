"""The Kubernetes API on raw dictionaries: typed errors, and a time-out on everything.

Raw, because the package's typed models reject or drop fields they do not know, and a Pod template
is the user's. Reads are repeated a little; writes are not: a write whose answer got lost may have
been done, and only the caller can look and decide again. (aiohttp itself sends a PUT or DELETE once
more when the server hangs up without an answer. All of ours are tied to a resourceVersion or UID:
the repetition of one that was done is a Conflict or NotFound.)
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration

from tune_operator.kube import credentials, errors
from tune_operator.kube.resources import TOKEN_REVIEWS, Resource
from tune_operator.kube.transport import CONNECT_SECONDS, JSON_PATCH, Object, Request, Transport
from tune_operator.runtime.backoff import Backoff
from tune_operator.runtime.clock import Clock, SystemClock

Objects = list[Object]

PAGE_SIZE = 250  # objects; a page of Pods is parsed in a few ten milliseconds
WATCH_SLACK_SECONDS = 5.0
READ_ATTEMPTS = 3
READ_BACKOFF = Backoff(initial=0.2, maximum=2.0, jitter=0.5)


class Kube:
    """One connection pool to one API server. Every method raises subclasses of `errors.KubeError`.

    request_seconds: bound of one request, connecting included. watch_seconds: how long the server
    keeps a watch open; one that is silent for little more than that is dead and raises Transient.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        renew: Callable[[Configuration], Awaitable[None]] = credentials.load,
        request_seconds: float = 10.0,
        watch_seconds: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self._transport = Transport(configuration, renew)
        self._request_seconds = request_seconds
        self._watch_seconds = watch_seconds
        self._clock = clock or SystemClock()

    @classmethod
    async def connect(cls) -> "Kube":
        """A client for the cluster at hand. Raises credentials.NoCluster; sends no request yet."""
        configuration = Configuration()
        await credentials.load(configuration)
        return cls(configuration)

    async def close(self) -> None:
        """Close all connections, watches included."""
        await self._transport.close()

    async def get(self, kind: Resource, namespace: str | None, name: str) -> Object:
        """The object as it is now, not from a cache."""
        return await self._read(Request("get", "GET", kind, namespace, name))

    async def serves(self, kind: Resource) -> bool:
        """Whether discovery shows this kind of a named group, group and version included."""
        found = await self._read(Request("discover", "GET", kind, None, discovery="/apis"))
        if kind.group not in (group["name"] for group in found.get("groups") or []):
            return False
        path = f"/apis/{kind.api_version}"
        try:
            found = await self._read(Request("discover", "GET", kind, None, discovery=path))
        except errors.NotFound:
            return False
        return kind.plural in (resource["name"] for resource in found.get("resources") or [])

    async def pages(
        self,
        kind: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        size: int = PAGE_SIZE,
    ) -> AsyncGenerator[tuple[Objects, str], None]:
        """A consistent list in pages, each with the list's resourceVersion. Items carry no `kind`.

        Raises Gone when the list got too old between two pages: start again. size 0: one page.
        """
        query = {"labelSelector": label_selector, "limit": str(size)}
        while True:
            page = await self._read(Request("list", "GET", kind, namespace, query=query))
            meta = page.get("metadata", {})
            yield page.get("items") or [], meta.get("resourceVersion", "")
            query["continue"] = meta.get("continue", "")
            if not query["continue"]:
                return

    async def list(
        self, kind: Resource, namespace: str | None, *, label_selector: str = ""
    ) -> tuple[Objects, str]:
        """All objects, and the resourceVersion to watch from. Items carry no `kind`."""
        try:
            return await self._collect(kind, namespace, label_selector, PAGE_SIZE)
        except errors.Gone:
            return await self._collect(kind, namespace, label_selector, 0)

    async def create(
        self,
        kind: Resource,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        dry_run: bool = False,
    ) -> Object:
        """Create `body`. A dry run stores nothing and refuses fields that do not exist."""
        query = {"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {}
        return await self._write(
            Request("create", "POST", kind, namespace, query=query, body=_complete(kind, body))
        )

    async def replace(self, kind: Resource, body: Mapping[str, Any]) -> Object:
        """PUT the object that `body` names; Conflict unless its resourceVersion is current."""
        return await self._put(kind, body, "")

    async def replace_status(self, kind: Resource, body: Mapping[str, Any]) -> Object:
        """PUT /status: takes over the status alone; Conflict on another UID or resourceVersion."""
        return await self._put(kind, body, "/status")

    async def json_patch(
        self, kind: Resource, namespace: str | None, name: str, ops: Objects
    ) -> Object:
        """Apply all operations or none; a `test` that fails is Invalid."""
        return await self._write(
            Request(
                "patch", "PATCH", kind, namespace, name, body=list(ops), content_type=JSON_PATCH
            )
        )

    async def delete(
        self,
        kind: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        grace_seconds: int | None = None,
    ) -> Object:
        """Delete this very object; Conflict if the name has another UID by now.

        Returns the object while something (grace, finalizers) still holds it, else a Status.
        """
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return await self._write(Request("delete", "DELETE", kind, namespace, name, body=options))

    async def token_review(self, token: str, audiences: Sequence[str]) -> Object:
        """The `status` of a TokenReview: whose token this is. Stores nothing, so it is a read."""
        spec = {"token": token, "audiences": [*audiences]}
        body = _complete(TOKEN_REVIEWS, {"spec": spec})
        review = await self._read(Request("create", "POST", TOKEN_REVIEWS, None, body=body))
        status = review.get("status")
        return status if isinstance(status, dict) else {}

    async def watch(
        self,
        kind: Resource,
        namespace: str | None,
        resource_version: str,
        *,
        label_selector: str = "",
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Events (type, object) after `resource_version`, with bookmarks, until the server ends it.

        A normal end may come at any time, under a burst of writes too: go on from the last
        resourceVersion. Raises Gone when that is too old: list again.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "timeoutSeconds": str(max(1, round(self._watch_seconds))),
        }
        request = Request("watch", "GET", kind, namespace, query=query)
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=CONNECT_SECONDS,
            sock_read=self._watch_seconds + WATCH_SLACK_SECONDS,
        )
        response = await self._transport.send(request, timeout)
        try:
            async for line in response.content:
                kind_of_event, item = _event(line)
                if kind_of_event == "ERROR":
                    code = int(item.get("code") or 500)
                    raise errors.from_status(code, item, verb="watch", resource=request.target)
                yield kind_of_event, item
        except errors.TRANSPORT_ERRORS as error:
            raise self._transport.failure(error, request) from error
        finally:
            response.close()

    async def _collect(
        self, kind: Resource, namespace: str | None, label_selector: str, size: int
    ) -> tuple[Objects, str]:
        items: Objects = []
        version = ""
        pages = self.pages(kind, namespace, label_selector=label_selector, size=size)
        async for page, version in pages:  # noqa: B007 - all pages have the same one
            items += page
        return items, version

    async def _put(self, kind: Resource, body: Mapping[str, Any], subresource: str) -> Object:
        meta = body["metadata"]
        return await self._write(
            Request(
                "update",
                "PUT",
                kind,
                meta.get("namespace"),
                meta["name"],
                subresource,
                body=_complete(kind, body),
            )
        )

    async def _write(self, request: Request) -> Object:
        return await self._transport.call(request, self._request_seconds)

    async def _read(self, request: Request) -> Object:
        """A request that changes nothing: worth a few attempts within seconds."""
        for attempt in range(1, READ_ATTEMPTS):
            try:
                return await self._transport.call(request, self._request_seconds)
            except errors.Transient:
                await self._clock.sleep(READ_BACKOFF.delay(attempt))
        return await self._transport.call(request, self._request_seconds)


def _complete(kind: Resource, body: Mapping[str, Any]) -> Object:
    """`body` with its type: what comes from a LIST carries none."""
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body}


def _event(line: bytes) -> tuple[str, Object]:
    """One line of a watch. Raises ValueError for anything else, such as a line that was cut off."""
    match json.loads(line):
        case {"type": str(kind), "object": dict(item)}:
            return kind, item
    raise ValueError("a line of the watch is no event")
