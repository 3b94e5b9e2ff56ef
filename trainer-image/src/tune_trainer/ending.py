"""How an attempt tells its end: the exit record into the store first, then ``/v1/complete``."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tune_trainer.checkpoint.saver import Attempt
from tune_trainer.failure import cut
from tune_trainer.limits import Limits
from tune_trainer.operator_client import NotNow, Operator, Outdated, Refused
from tune_trainer.protocol import fields
from tune_trainer.protocol.environment import EXIT_FAILED, EXIT_OK
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.messages import COMPLETE_PATH, CompleteRequest
from tune_trainer.protocol.result import Result
from tune_trainer.reporter import Reporter
from tune_trainer.retry import Retry, delays
from tune_trainer.store.base import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class End:
    """How an attempt ended. ``last_result`` only where the reporter knows none.

    ``signal`` and ``directive`` (its ID) say what ended it, if one of them did.
    """

    outcome: Outcome
    reason: str
    message: str = ""
    signal: str = ""
    directive: str = ""
    last_result: Result | None = None

    @property
    def code(self) -> int:
        """Exit code of the process."""
        return EXIT_FAILED if self.outcome is Outcome.FAILED else EXIT_OK


class Ending:
    """Writes one record; of two threads that want to, the first decides and the other waits."""

    def __init__(
        self, attempt: Attempt, store: Store, client: Operator, reporter: Reporter,
        limits: Limits,
    ) -> None:  # fmt: skip
        self._attempt = attempt
        self._store = store
        self._client = client
        self._reporter = reporter
        self._limits = limits
        self._lock = threading.Lock()
        self._written: tuple[End, ExitRecord] | None = None
        self._restored_iteration = 0

    def restored(self, iteration: int) -> None:
        """The iteration this attempt stands at before its first result."""
        self._restored_iteration = iteration

    def write(self, end: End, seconds: float) -> End:
        """Put the record into the store and return the end it tells: maybe an earlier one.

        Raises Unusable when the store did not take it within ``seconds``.
        """
        # TimeoutError: another thread is at it; its own deadline ends that.
        if not self._lock.acquire(timeout=seconds):
            raise TimeoutError("the exit record is being written")
        try:
            if self._written is None:
                record = self._record(end)
                data = record.to_bytes()
                key = self._attempt.keys.exit_record(self._attempt.number)
                Retry(seconds).run(lambda: self._store.put(key, data))
                self._written = end, record
                log.info("exit record: %s (%s)", end.outcome, end.reason)
            return self._written[0]
        finally:
            self._lock.release()

    def tell(self, seconds: float, wait: Callable[[float], object] = time.sleep) -> None:
        """Tell the operator, if it is there: it finds the record in the store anyway."""
        if self._written is None:
            return
        checkpoints = self._reporter.stop(min(seconds, self._limits.answer))
        record = self._written[1]
        request = CompleteRequest(self._attempt.number, record, checkpoints).to_json()
        if len(fields.dump(request)) > self._limits.request_bytes:
            # They are in the store. The last one goes with them: told alone, it would leave a gap.
            record = dataclasses.replace(record, results=(), last_result=None)
            request = CompleteRequest(self._attempt.number, record, checkpoints).to_json()
        waited = 0.0
        for delay in delays(first=0.2, longest=5.0):
            try:
                self._client.post(COMPLETE_PATH, request)
                return
            except (Outdated, Refused) as error:
                log.warning("the operator does not take the completion: %s", error)
                return
            except NotNow as error:
                pause = max(delay, error.retry_after)
                waited += pause
                if waited > seconds:
                    log.warning("the operator will find the exit record by itself: %s", error)
                    return
            wait(pause)

    def _record(self, end: End) -> ExitRecord:
        last = self._reporter.last or end.last_result
        return ExitRecord(
            experiment=self._attempt.experiment,
            trial=self._attempt.trial,
            attempt=self._attempt.number,
            outcome=end.outcome,
            reason=end.reason,
            message=cut(self._with_what_is_missing(end.message)),
            iteration=last.iteration if last else self._restored_iteration,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            signal=end.signal,
            last_result=last,
            results=self._reporter.undurable(),
            directive=end.directive,
        )

    def _with_what_is_missing(self, message: str) -> str:
        """Results that the operator will not find anywhere are said, not dropped in silence."""
        merged = self._reporter.merged
        if not merged:
            return message
        missing = f"{merged} results are missing: the operator was away for too long"
        return f"{message}; {missing}" if message else missing
