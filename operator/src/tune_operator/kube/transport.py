"""One HTTP request to the API server: login, time-out, and every failure mapped to `errors`."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from tune_operator.kube import errors
from tune_operator.kube.credentials import NoCluster
from tune_operator.kube.resources import Resource

Object = dict[str, Any]

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
USER_AGENT = "tune-operator"
CONNECT_SECONDS = 5.0
FAILURES = (*errors.TRANSPORT_ERRORS, NoCluster)  # NoCluster: a token file that cannot be read


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. `verb` is Kubernetes' word for it, for messages and as RBAC has it."""

    verb: str
    method: str
    kind: Resource
    namespace: str | None
    name: str | None = None
    subresource: str = ""
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = JSON
    discovery: str = ""  # a path that is about kinds and not about objects

    @property
    def target(self) -> str:
        """What it is about, for messages: `pods tune/digits-1`."""
        place = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.kind.plural}{self.subresource} {place}".strip()

    @property
    def path(self) -> str:
        """Path and query, empty values left out. Raises Invalid for a name that is none."""
        if self.discovery:
            return self.discovery
        try:
            path = self.kind.path(self.namespace, self.name) + self.subresource
        except ValueError as error:
            raise errors.Invalid(str(error), verb=self.verb, resource=self.target) from error
        query = {key: value for key, value in (self.query or {}).items() if value}
        return f"{path}?{urlencode(query)}" if query else path


class Transport:
    """The connection pool of one cluster, logged in."""

    def __init__(
        self, configuration: Configuration, renew: Callable[[Configuration], Awaitable[None]]
    ) -> None:
        configuration.connection_pool_maxsize = 0  # unlimited: each watched namespace holds one
        self._configuration = configuration
        self._renew = renew
        self._api = ApiClient(configuration)

    async def close(self) -> None:
        """Close all connections, also those in use."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def call(self, request: Request, seconds: float) -> Object:
        """Send, and read the whole answer, within `seconds`."""
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        response = await self.send(request, limits)
        try:
            answer = json.loads(await response.read())
        except errors.TRANSPORT_ERRORS as error:
            raise self.failure(error, request) from error
        return answer if isinstance(answer, dict) else {}

    async def send(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """An accepted request; the caller reads its body and maps with `failure` what it raises."""
        path = request.path
        try:
            response = await self._attempt(request, path, limits)
            if response.status == 401:  # nothing was done: safe to repeat, with what was rotated
                response.release()
                await self._renew(self._configuration)
                response = await self._attempt(request, path, limits)
            if response.status < 300:
                return response
            text = await response.read()
        except FAILURES as error:
            raise self.failure(error, request) from error
        raise errors.from_status(
            response.status,
            _status(text),
            verb=request.verb,
            resource=request.target,
            retry_after=response.headers.get("Retry-After"),
        )

    @staticmethod
    def failure(error: BaseException, request: Request) -> errors.Transient:
        """The typed error for what the transport raised."""
        return errors.from_transport(error, verb=request.verb, resource=request.target)

    async def _attempt(
        self, request: Request, path: str, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": JSON, "Content-Type": request.content_type, "User-Agent": USER_AGENT}
        await self._api.update_params_for_auth(
            headers, [], ["BearerToken"], path, request.method, request.body
        )
        answer = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
            request.method,
            f"{self._configuration.host}{path}",
            headers=headers,
            body=request.body,
            _request_timeout=limits,
        )
        response: aiohttp.ClientResponse = answer.response
        return response


def _status(text: bytes) -> Mapping[str, Any]:
    """The Status in an error's body; a proxy in between may answer with anything."""
    try:
        status = json.loads(text)
    except ValueError:
        return {"message": text.decode(errors="replace").strip()}
    return status if isinstance(status, dict) else {}
