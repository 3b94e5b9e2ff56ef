"""Metadata servers of the three clouds, as far as they say something about the end of a machine."""

import json
from typing import Any

from tests.unit.trainer.http_server import Answer, Request, Server

GOOGLE = {"Metadata-Flavor": "Google"}


class MetadataServer:
    """Serves what ``answer`` says; counts and keeps what it is asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._server = Server(self._behave)
        self.url = self._server.url

    def stop(self) -> None:
        self._server.stop()

    def _behave(self, request: Request) -> Answer | None:
        self.requests.append(request)
        return self.answer(request)

    def answer(self, request: Request) -> Answer | None:
        raise NotImplementedError


class GcpServer(MetadataServer):
    """Refuses requests without the header, as Google's does."""

    preempted = "FALSE"
    maintenance: str | None = "NONE"

    def answer(self, request: Request) -> Answer | None:
        if request.headers.get("Metadata-Flavor") != "Google":
            return Answer(403, b"Missing Metadata-Flavor:Google header.")
        match request.path.rpartition("/computeMetadata/v1/instance/")[2]:
            case "preempted":
                return Answer(200, f"{self.preempted}\n".encode(), GOOGLE)
            case "maintenance-event" if self.maintenance is not None:
                return Answer(200, self.maintenance.encode(), GOOGLE)
        return Answer(404, b"<html>", GOOGLE)


class AwsServer(MetadataServer):
    """IMDSv2 only: whoever has no valid token gets 401."""

    action: dict[str, Any] | None = None

    def __init__(self) -> None:
        self.tokens = 0
        self.valid = ""
        super().__init__()

    def expire(self) -> None:
        self.valid = ""

    def answer(self, request: Request) -> Answer | None:
        if (request.method, request.path) == ("PUT", "/latest/api/token"):
            if not 1 <= int(request.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600:
                return Answer(400)
            self.tokens += 1
            self.valid = f"AQAEA-token-{self.tokens}=="
            return Answer(200, self.valid.encode())
        if not self.valid or request.headers.get("X-aws-ec2-metadata-token") != self.valid:
            return Answer(401, b"Unauthorized")
        if request.path != "/latest/meta-data/spot/instance-action" or self.action is None:
            return Answer(404, b"<?xml?><html>404 - Not Found</html>")
        return Answer(200, json.dumps(self.action).encode())


class AzureServer(MetadataServer):
    """Events are those of the whole scale set."""

    events: list[Any]
    machine = "pool_3"

    def __init__(self) -> None:
        self.events = []
        super().__init__()

    def answer(self, request: Request) -> Answer | None:
        if request.headers.get("Metadata") != "true":
            return Answer(400, b'{"error": "Bad request. Required metadata header not specified"}')
        if request.path == "/metadata/scheduledevents?api-version=2020-07-01":
            document = {"DocumentIncarnation": 1, "Events": self.events}
            return Answer(200, json.dumps(document).encode())
        if request.path.startswith("/metadata/instance/compute/name?"):
            return Answer(200, self.machine.encode()) if self.machine else Answer(404)
        return Answer(404)


def azure_event(kind: str, *machines: str) -> dict[str, Any]:
    return {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": list(machines),
        "EventStatus": "Scheduled",
        "NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT",
    }
