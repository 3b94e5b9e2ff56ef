"""The three calls of an operator, answered by this process: it keeps results and says Continue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tune_trainer.local.display import Display
from tune_trainer.operator_client import NotNow, Refused
from tune_trainer.protocol import fields
from tune_trainer.protocol.messages import (
    COMPLETE_PATH,
    RESULTS_PATH,
    SESSION_PATH,
    CompleteRequest,
    CompleteResponse,
    ResultsRequest,
    ResultsResponse,
    SessionResponse,
)
from tune_trainer.protocol.result import Result


class LocalOperator:
    """See ``operator_client.Operator``. Results are lines of a file, each with its attempt."""

    def __init__(self, session: SessionResponse, results: Path, display: Display) -> None:
        self._session = session
        self._results = results
        self._display = display
        self._received = 0

    def post(self, path: str, document: Mapping[str, object]) -> bytes:
        """The answer to one request, whose document travels as it would over the network."""
        body = fields.dump(document)
        match path:
            case _ if path == SESSION_PATH:
                return fields.dump(self._session.to_json())
            case _ if path == RESULTS_PATH:
                sent = ResultsRequest.from_bytes(body)
                self._take(sent.results)
                self._display.saved(sent.checkpoints)
                return fields.dump(ResultsResponse(self._received, self._received).to_json())
            case _ if path == COMPLETE_PATH:
                complete = CompleteRequest.from_bytes(body)
                self._take(complete.exit.results)
                self._display.saved(complete.checkpoints)
                return fields.dump(CompleteResponse().to_json())
        raise Refused(f"no such call: {path}")

    def _take(self, results: tuple[Result, ...]) -> None:
        """Keep those that are new; raises NotNow: the reporter keeps them until that works."""
        new = [result for result in results if result.seq > self._received]
        lines = [fields.dump({"attempt": self._session.attempt, **r.to_json()}) for r in new]
        try:
            with self._results.open("ab") as file:
                file.writelines(line + b"\n" for line in lines)
        except OSError as error:
            raise NotNow(f"{self._results}: {error}") from None
        if new:
            self._received = new[-1].seq
            self._display.results(new)
