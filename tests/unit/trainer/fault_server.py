"""S3 over HTTP that does to requests what networks, servers and administrators really do."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import repeat

from tests.unit.trainer.http_server import Answer, Request
from tests.unit.trainer.s3_server import S3Server, error
from tune_trainer.store.base import UploadLost


class Trouble(Enum):
    """What happens to one request."""

    NONE = "carried out and answered"
    ERROR = "HTTP 500"
    SLOW_DOWN = "HTTP 503"
    DENIED = "HTTP 403 AccessDenied"
    EXPIRED = "HTTP 403 ExpiredToken"
    HUNG_UP = "not carried out, the connection ends"
    UNANSWERED = "carried out, the connection ends"
    LATE = "the connection ends; carried out after its successor"
    TORN = "carried out, the answer ends in its middle"
    ALTERED = "carried out on a body with another bit, or answered with one"
    SILENT = "carried out, and never answered"


REFUSALS = {
    Trouble.ERROR: error(500, "InternalError"),
    Trouble.SLOW_DOWN: error(503, "SlowDown"),
    Trouble.DENIED: error(403, "AccessDenied"),
    Trouble.EXPIRED: error(403, "ExpiredToken"),
}

LASTING = [trouble for trouble in Trouble if trouble not in {Trouble.NONE, Trouble.ALTERED}]
"""Troubles that let nothing through while they last."""


class FaultServer(S3Server):
    """Takes one trouble per request; none when they are used up."""

    def __init__(self) -> None:
        super().__init__()
        self.troubles: Iterator[Trouble] = iter(())
        self.intercept = self._meddle
        self._late: dict[str, list[Callable[[], Answer]]] = {}
        self._released = threading.Event()
        self._order = threading.RLock()

    def stop(self) -> None:
        self._released.set()
        super().stop()

    def heal(self) -> None:
        """No trouble from now on; what is still on its way arrives."""
        self.troubles = iter(())
        for path in list(self._late):
            self._deliver(path)

    def forever(self, trouble: Trouble, after: int = 0) -> None:
        """Carry out so many requests, then none."""
        self.troubles = self._from(trouble, after)

    @staticmethod
    def _from(trouble: Trouble, after: int) -> Iterator[Trouble]:
        yield from repeat(Trouble.NONE, after)
        yield from repeat(trouble)

    def _meddle(self, request: Request, carry_out: Callable[[], Answer]) -> Answer | None:
        with self._order:
            trouble = next(self.troubles, Trouble.NONE)
            if trouble in REFUSALS:
                return REFUSALS[trouble]
            if trouble is Trouble.HUNG_UP:
                return None
            if trouble is Trouble.LATE:
                self._late.setdefault(request.path, []).append(carry_out)
                return None
            answer = (
                self._altered(request, carry_out) if trouble is Trouble.ALTERED else carry_out()
            )
            self._deliver(request.path)
        if trouble is Trouble.UNANSWERED:
            return None
        if trouble is Trouble.TORN:
            return Answer(
                answer.status, answer.body + b"lost", answer.headers, len(answer.body) // 2
            )
        if trouble is Trouble.SILENT:
            self._released.wait(60)
            return None
        return answer

    def _deliver(self, path: str) -> None:
        """Carry out what is late, after its successor."""
        for action in self._late.pop(path, []):
            with contextlib.suppress(UploadLost):
                action()

    def _altered(self, request: Request, carry_out: Callable[[], Answer]) -> Answer:
        if request.method != "GET":
            # The real check of a store: what came has not the checksum that was signed.
            return error(400, "XAmzContentSHA256Mismatch")
        answer = carry_out()
        if not answer.body or answer.status >= 300:
            return answer
        body = bytes([answer.body[0] ^ 1]) + answer.body[1:]
        return Answer(answer.status, body, answer.headers)
