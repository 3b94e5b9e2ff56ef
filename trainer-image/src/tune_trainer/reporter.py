"""Sends results in order, in a thread of its own: the operator being away stops no training."""

from __future__ import annotations

import logging
import threading

from tune_trainer.errors import Fenced
from tune_trainer.limits import Limits
from tune_trainer.operator_client import NotNow, Operator, Outdated, Refused
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.messages import (
    CONTINUE,
    RESULTS_PATH,
    Directive,
    DirectiveKind,
    ResultsRequest,
    ResultsResponse,
)
from tune_trainer.protocol.result import Result
from tune_trainer.retry import delays
from tune_trainer.spool import Spool

log = logging.getLogger(__name__)


class Reporter:
    """Shared by the training thread (add, answer) and the uploader (undurable, committed)."""

    def __init__(self, client: Operator, attempt: int, spool: Spool, limits: Limits) -> None:
        self._client = client
        self._attempt = attempt
        self._spool = spool
        self._limits = limits
        self._changed = threading.Condition()
        self._news = threading.Event()
        self._checkpoints: list[CheckpointRef] = []
        self._newest: tuple[CheckpointRef, ...] = ()
        self._directive = CONTINUE
        self._unknown: set[str] = set()
        self._outdated = ""
        self._silent = False
        self._hurried = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    @property
    def fenced(self) -> bool:
        """Whether the operator said that this attempt was replaced."""
        return bool(self._outdated)

    @property
    def last(self) -> Result | None:
        """The newest result."""
        return self._spool.last

    @property
    def merged(self) -> int:
        """Results that were given up because the spool was full."""
        return self._spool.merged

    @property
    def directive(self) -> Directive:
        """What the operator said last."""
        return self._directive

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def add(self, result: dict[str, object]) -> None:
        """Keep a result and send it as soon as possible; raises Fenced."""
        self.check()
        with self._changed:
            merged = self._spool.merged
            self._spool.add(result)
        if not merged and self._spool.merged:
            log.warning("the operator has been away for so long that the spool is full: of further "
                        "results only the newest and the best are kept")  # fmt: skip
        self._news.set()

    def answer(self, step_seconds: float) -> Directive:
        """What the operator says to the newest result, or what it said last; raises Fenced.

        Quick steps do not wait, and nobody waits again for an operator that left one unanswered or
        did not take it.
        """
        with self._changed:
            seq = self._spool.seq
            backlog = seq - self._spool.received
            quick = step_seconds < self._limits.quick_step
            if not (self._silent or (quick and backlog <= self._limits.quick_backlog)):
                arrived = self._changed.wait_for(
                    lambda: self._spool.received >= seq or self._silent or self._is_over,
                    self._limits.answer,
                )
                if not arrived:
                    self._silent = True
        self.check()
        return self._directive

    @property
    def _is_over(self) -> bool:
        """Nothing that the operator may still say matters."""
        return self.fenced or self._hurried or self._directive.kind is DirectiveKind.STOP

    def check(self) -> None:
        """Raises Fenced when the attempt was replaced."""
        if self._outdated:
            raise Fenced(f"the operator has replaced this attempt: {self._outdated}")

    def hurry(self) -> None:
        """The process ends soon: nobody waits for answers any more."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def undurable(self) -> tuple[Result, ...]:
        """Results for a manifest or the exit record."""
        with self._changed:
            return self._spool.undurable()

    def committed(self, ref: CheckpointRef) -> None:
        """Tell the operator of a checkpoint at once, and of the newest with each request.

        An operator that restarted may have forgotten what it was told.
        """
        with self._changed:
            self._checkpoints.append(ref)
            self._newest = (ref,)
        self._news.set()

    def stop(self, seconds: float) -> tuple[CheckpointRef, ...]:
        """End the thread (a request in flight may take ``seconds``); checkpoints not yet told."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        with self._changed:
            return tuple(self._checkpoints)

    def _run(self) -> None:
        pauses = delays(first=0.5, longest=30.0)
        while not (self._stopping or self.fenced):
            self._news.wait()
            request = self._next_request()
            if request is None or self._stopping:
                continue
            try:
                self._exchange(request)
            except NotNow as error:
                pause = max(next(pauses), error.retry_after)
                log.warning("results are kept: %s; trying again in %.1f s", error, pause)
            except Exception:  # a defect here must not silence the attempt for good
                pause = next(pauses)
                log.exception("results are kept; trying again in %.1f s", pause)
            else:
                pauses = delays(first=0.5, longest=30.0)
                pause = self._limits.quick_step
            self._rest(pause)

    def _next_request(self) -> ResultsRequest | None:
        with self._changed:
            self._news.clear()
            results = self._spool.unsent(self._limits.request_bytes)
            if not results and not self._checkpoints:
                return None
            refs = tuple(self._checkpoints) or self._newest
            return ResultsRequest(self._attempt, results, refs, self._spool.received)

    def _exchange(self, request: ResultsRequest) -> None:
        """One request and its answer; raises NotNow."""
        try:
            body = self._client.post(RESULTS_PATH, request.to_json())
            answer = ResultsResponse.from_bytes(body)
        except Outdated as error:
            self._fence(str(error))
        except ProtocolError as error:
            raise NotNow(f"the operator's answer is not understood: {error}") from None
        except Refused as error:
            log.warning("results up to %d are not taken (%s); they stay in the spool",
                      request.seq, error)  # fmt: skip
            with self._changed:
                self._spool.refused(request.results)
                self._told(request.checkpoints)
        else:
            self._take(request, answer)

    def _take(self, request: ResultsRequest, answer: ResultsResponse) -> None:
        """Take in an answer; raises NotNow when the operator took none of the results.

        It does so while its journal is stuck. One that restarted has fewer than before instead:
        it is sent those at once.
        """
        with self._changed:
            before = self._spool.received
            self._spool.answered(answer.received, answer.durable)
            self._told(request.checkpoints)
            self._hear(answer.directive)
            self._silent = bool(request.results) and self._spool.received == before
            if self._spool.unsent(1) or self._checkpoints:
                self._news.set()
            self._changed.notify_all()
            if self._silent:
                raise NotNow("the operator takes none of them now")

    def _hear(self, directive: Directive) -> None:
        """Keep it until the training thread looks. The last word counts, but a Stop stands.

        A Stop was durable before it was said: a later Continue comes from an operator that was
        replaced and does not know it.
        """
        if self._directive.kind is DirectiveKind.STOP:
            return
        if directive.unknown and directive.unknown not in self._unknown:
            self._unknown.add(directive.unknown)
            log.warning("the operator says %r, which this version does not know: going on",
                        directive.unknown)  # fmt: skip
        if directive != self._directive and directive.id:
            log.info("the operator says %s (%s)", directive.kind, directive.id)
        self._directive = directive

    def _told(self, checkpoints: tuple[CheckpointRef, ...]) -> None:
        self._checkpoints = [ref for ref in self._checkpoints if ref not in checkpoints]

    def _fence(self, message: str) -> None:
        with self._changed:
            self._outdated = message or "no longer the current one"
            self._changed.notify_all()

    def _rest(self, seconds: float) -> None:
        """Wait before the next request, and send again afterwards what has no answer."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)
            if self._spool.unsent(1) or self._checkpoints:
                self._news.set()
