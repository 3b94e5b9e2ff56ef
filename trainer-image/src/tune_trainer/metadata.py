"""What the metadata servers of GCP, AWS and Azure say about the end of the machine that asks.

Each answers on a link-local address, to whoever asks from the machine. Where none is, nothing
answers, or something that is not it: both are ``Silent`` and mean nothing. Sources: "Preemptible
VM instances" and "About host events" of Compute Engine, "Spot Instance interruption notices" and
IMDSv2 of EC2, "Scheduled Events" of Azure.

The base addresses can be replaced by ``TUNE_METADATA_GCP``, ``TUNE_METADATA_AWS`` and
``TUNE_METADATA_AZURE``; an empty one turns its source off.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else a thread imports it to connect, while workers are forked
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from tune_trainer.preemption import Silent, Source

LINK_LOCAL = "http://169.254.169.254"
TIMEOUT = 2.0
"""Seconds without a byte after which a server is silent."""

LARGEST_ANSWER = 64 * 1024
TOKEN_SECONDS = 21600
"""How long an EC2 token is valid; the longest there is."""

_TOKEN = re.compile(rb"[!-~]{1,1024}")


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace").strip()

    def json(self) -> dict[str, Any]:
        """Raises Silent."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            raise Silent("no JSON") from None
        if not isinstance(document, dict):
            raise Silent("no JSON object")
        return document


class _Server:
    """Plain HTTP without proxies, which must not see these requests, and a connection for each."""

    def __init__(self, base: str) -> None:
        self._base = urlsplit(base)

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> _Answer:
        """Raises Silent."""
        try:
            connection = HTTPConnection(
                self._base.hostname or "", self._base.port, timeout=TIMEOUT
            )  # fmt: skip
            try:
                connection.request(method, self._base.path.rstrip("/") + path, headers=headers)
                response = connection.getresponse()
                body = response.read(LARGEST_ANSWER)
                sent = {name.lower(): value for name, value in response.getheaders()}
            finally:
                connection.close()
        except (OSError, HTTPException, ValueError) as error:
            raise Silent(type(error).__name__) from None
        return _Answer(response.status, sent, body)


class Gcp:
    """Compute Engine: preempted, or terminated for the maintenance of its host."""

    name = "GCP"
    _ASKED = {"Metadata-Flavor": "Google"}  # noqa: RUF012 - never changed

    def __init__(self, base: str = LINK_LOCAL) -> None:
        self._server = _Server(base)

    def ending(self) -> bool:
        preempted = self._value("preempted")
        if preempted == "TRUE":
            return True
        event = self._value("maintenance-event")
        if preempted is None and event is None:
            raise Silent("neither value is served")
        # A migration (MIGRATE_ON_HOST_MAINTENANCE) is not the end: the machine goes on elsewhere.
        return event == "TERMINATE_ON_HOST_MAINTENANCE"

    def _value(self, name: str) -> str | None:
        """None where this server does not serve it; raises Silent."""
        answer = self._server.request("GET", f"/computeMetadata/v1/instance/{name}", self._ASKED)
        if answer.headers.get("metadata-flavor") != "Google":
            raise Silent("it is not Google's")
        return answer.text if answer.status == 200 else None


class Aws:
    """EC2: a spot interruption. A rebalance recommendation is only that, and no end."""

    name = "AWS"

    def __init__(self, base: str = LINK_LOCAL) -> None:
        self._server = _Server(base)
        self._token: str | None = None

    def ending(self) -> bool:
        answer = self._action()
        if answer.status == 401:  # the token has expired
            self._token = None
            answer = self._action()
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise Silent(f"HTTP {answer.status}")
        return answer.json().get("action") in {"terminate", "stop", "hibernate"}

    def _action(self) -> _Answer:
        if self._token is None:
            self._token = self._new_token()
        return self._server.request(
            "GET", "/latest/meta-data/spot/instance-action",
            {"X-aws-ec2-metadata-token": self._token},
        )  # fmt: skip

    def _new_token(self) -> str:
        answer = self._server.request(
            "PUT", "/latest/api/token",
            {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS), "Content-Length": "0"},
        )  # fmt: skip
        if answer.status != 200 or not _TOKEN.fullmatch(answer.body):
            raise Silent(f"no token: HTTP {answer.status}")
        return answer.body.decode()


class Azure:
    """Scheduled Events: this machine is preempted or deleted."""

    name = "Azure"
    _ASKED = {"Metadata": "true"}  # noqa: RUF012 - never changed

    def __init__(self, base: str = LINK_LOCAL) -> None:
        self._server = _Server(base)
        self._machine: str | None = None

    def ending(self) -> bool:
        answer = self._server.request(
            "GET", "/metadata/scheduledevents?api-version=2020-07-01", self._ASKED
        )
        events = answer.json().get("Events") if answer.status == 200 else None
        if not isinstance(events, list):
            raise Silent(f"no events: HTTP {answer.status}")
        return any(self._ends_this(event) for event in events if isinstance(event, dict))

    def _ends_this(self, event: Mapping[str, Any]) -> bool:
        """The events of a scale set's other machines are told to all of them."""
        if event.get("EventType") not in {"Preempt", "Terminate"}:
            return False
        named = event.get("Resources")
        machine = self._name()
        return not machine or not isinstance(named, list) or machine in named

    def _name(self) -> str:
        """Name of this machine, "" while it is not known: then every event may be its own."""
        if not self._machine:
            path = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
            try:
                answer = self._server.request("GET", path, self._ASKED)
            except Silent:
                return ""
            self._machine = answer.text if answer.status == 200 else None
        return self._machine or ""


def sources(environ: Mapping[str, str]) -> list[Source]:
    """Those that are not turned off."""
    found: list[Source] = []
    for kind in (Gcp, Aws, Azure):
        base = environ.get(f"TUNE_METADATA_{kind.name.upper()}", LINK_LOCAL)
        if base:
            found.append(kind(base))
    return found
