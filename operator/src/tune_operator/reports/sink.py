"""The seam between transport (here) and meaning (the experiment)."""

from typing import Protocol

from tune_operator.reports.identity import PodIdentity
from tune_trainer.protocol.messages import (
    CompleteRequest,
    CompleteResponse,
    ResultsRequest,
    ResultsResponse,
    SessionRequest,
    SessionResponse,
)


class SinkRefusal(Exception):
    """The sink declines a report; `message` goes to the trainer and names no other tenant."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Outdated(SinkRefusal):
    """This Pod is not, or no longer, the current attempt: answered 401, it must end (code 75)."""


class NotBound(SinkRefusal):
    """The attempt waits for its Pod's UID to land in the status: answered 409, ask again."""


class NotReady(SinkRefusal):
    """This operator cannot answer yet (not the leader, caches empty): answered 503, ask again."""


class ReportSink(Protocol):
    """Takes in what trainers send; `pod` is authenticated, nothing in a request is identity."""

    async def session(self, pod: PodIdentity, request: SessionRequest) -> SessionResponse:
        """What the attempt bound to `pod` has to run. Raises Outdated, NotBound or NotReady."""
        ...

    async def results(self, pod: PodIdentity, request: ResultsRequest) -> ResultsResponse:
        """Takes in results once per sequence number. Raises Outdated, NotBound or NotReady."""
        ...

    async def complete(self, pod: PodIdentity, request: CompleteRequest) -> CompleteResponse:
        """Notes that the attempt has ended by itself. Raises Outdated, NotBound or NotReady."""
        ...
