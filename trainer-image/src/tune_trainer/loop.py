"""The training loop: step, judge, save, report, until something ends it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tune_trainer import metrics
from tune_trainer import result as names
from tune_trainer.cadence import Cadence
from tune_trainer.checkpoint.saver import Saver
from tune_trainer.ending import End
from tune_trainer.errors import AttemptFailed
from tune_trainer.failure import during
from tune_trainer.function import FunctionTrainable
from tune_trainer.interruption import Interruption
from tune_trainer.limits import Limits
from tune_trainer.pace import Pace
from tune_trainer.progress import Progress
from tune_trainer.protocol.exit_record import Outcome, Reason
from tune_trainer.protocol.messages import Directive, DirectiveKind, SessionResponse
from tune_trainer.protocol.result import Result
from tune_trainer.reporter import Reporter
from tune_trainer.trainable import Trainable

log = logging.getLogger(__name__)


class TrainingLoop:
    """Runs in the main thread. Everything it needs is made before."""

    def __init__(
        self, session: SessionResponse, trainable: Trainable, progress: Progress, saver: Saver,
        reporter: Reporter, interruption: Interruption, pace: Pace, limits: Limits,
    ) -> None:  # fmt: skip
        self._session = session
        self._trainable = trainable
        self._progress = progress
        self._saver = saver
        self._reporter = reporter
        self._interruption = interruption
        self._pace = pace
        self._limits = limits
        self._cadence = Cadence(session.max_lost_seconds, pace.longest, saver.longest)
        self._obeyed = ""
        self._heeded = ""
        self._first = frozenset(
            {
                session.metric, *session.criteria,
                names.DONE, names.SHOULD_CHECKPOINT, names.TRAINING_ITERATION,
            }
        )  # fmt: skip
        self._cut = False
        # A class saves when it is told to, a function when it reports a checkpoint.
        self._by_itself = isinstance(trainable, FunctionTrainable)
        self._call = f"{type(trainable).__name__}()" if self._by_itself else "step()"
        self._told_no = False
        self._crossed = False

    def run(self, restored: Mapping[str, Any] | None) -> End:
        """Train until the trial is done, a criterion is reached, or a signal came.

        ``restored`` is the result the checkpoint was saved with: a trial that was done by it trains
        no further. Raises AttemptFailed, Fenced, Unusable, and what the user's code raises.
        """
        if restored is not None and (end := self._end(restored)):
            return End(end.outcome, end.reason, end.message, last_result=Result(1, restored))
        while True:
            if self._interruption.requested.is_set() and not self._crossed:
                return self._interrupted()
            self._told_no = False
            self._pace.begin()
            with during(self._call, self._session.trial, self._progress.iteration + 1):
                result = self._trainable.train()
            seconds = self._pace.end()
            if end := self._take(result, seconds):
                return end

    def wants_checkpoint(self) -> bool:
        """What a function is told that asks; it does so while this loop waits for its report."""
        directive = self._reporter.directive
        asked = directive.kind is DirectiveKind.CHECKPOINT and directive.id != self._obeyed
        ending = self._interruption.requested.is_set() and self._session.on_preemption
        announced = self._interruption.announced() and not self._heeded
        wanted = bool(asked or ending or announced)
        self._told_no = not wanted
        return wanted

    def _take(self, raw: dict[str, Any], seconds: float) -> End | None:
        """One result: judge it, keep it, save if due, do what the operator says.

        Of ends that come together the trial's own wins, then a Stop, then a signal: the order in
        which the operator ranks them.
        """
        if names.RESULT_DUPLICATE in raw:
            return self._completed()
        result = self._bounded(metrics.plain(raw))
        metrics.require_objective(result, self._session.metric)
        end = self._end(result)
        if end is None:
            metrics.require_criteria(result, self._session.criteria)
        self._reporter.add(result)  # before the save: the manifest carries it
        self._save_if_due(result, last=end is not None)
        # A signal may come between a function's question and its report: then it gets one more
        # iteration, in which the answer is another. The grace bounds that.
        asks = self._by_itself and self._session.on_preemption
        self._crossed = asks and self._told_no and not _asks_to_save(result)
        if end is None:
            self._heed(self._interruption.announced(), result)
            end = self._obey(self._reporter.answer(seconds), result)
        if end is not None:
            self._saver.wait()
        return end

    def _completed(self) -> End:
        """There is no further result: the last one is the final one."""
        last = self._reporter.last
        if last is not None and self._session.at_end:
            self._save(last.metrics, forced=True)
        self._saver.wait()
        return End(Outcome.COMPLETED, Reason.COMPLETED)

    def _bounded(self, plain: dict[str, Any]) -> dict[str, Any]:
        limit = self._limits.result_bytes
        result = metrics.bounded(plain, limit, self._first)
        if not self._cut and result.keys() != plain.keys():
            self._cut = True
            log.warning(
                "trial %s: a result of %s has more than %d bytes of JSON: its smallest values are "
                "kept, %d of them; report fewer metrics", self._session.trial, self._call, limit,
                len(result),
            )  # fmt: skip
        return result

    def _end(self, result: Mapping[str, Any]) -> End | None:
        if result.get(names.DONE):
            return End(Outcome.COMPLETED, Reason.COMPLETED)
        if met := metrics.reached(result, self._session.criteria):
            return End(Outcome.COMPLETED, Reason.STOPPED_BY_CRITERIA, met)
        return None

    def _save_if_due(self, result: Mapping[str, Any], *, last: bool) -> None:
        frequency = self._session.frequency
        forced = _asks_to_save(result) or (last and self._session.at_end)
        periodic = frequency > 0 and self._progress.iteration % frequency == 0
        if forced or periodic or self._cadence.is_due():
            self._save(result, forced=forced)

    def _save(self, result: Mapping[str, Any], *, forced: bool) -> None:
        if self._saver.save(self._trainable, self._progress, result, forced=forced):
            self._cadence.saved()

    def _heed(self, announcer: str, result: Mapping[str, Any]) -> None:
        """Save once when somebody announces the end; it may be withdrawn, and come again."""
        if announcer and not self._heeded:
            if not self._by_itself:
                self._save_if_possible(result, f"the notice of {announcer}")
            elif not _asks_to_save(result):
                return  # should_checkpoint() tells the function
        self._heeded = announcer

    def _obey(self, directive: Directive, result: Mapping[str, Any]) -> End | None:
        """Do what the operator asks for; a checkpoint once per ID, for it repeats itself."""
        match directive.kind:
            case DirectiveKind.STOP:
                if self._session.at_end:
                    self._save(result, forced=True)
                return End(Outcome.STOPPED, Reason.STOPPED_BY_DIRECTIVE, directive=directive.id)
            case DirectiveKind.CHECKPOINT if directive.id != self._obeyed:
                if not self._by_itself:
                    self._obeyed = directive.id
                    self._save_if_possible(result, f"directive {directive.id}")
                elif _asks_to_save(result):  # else should_checkpoint() tells the function
                    self._obeyed = directive.id
        return None

    def _save_if_possible(self, result: Mapping[str, Any], asked_by: str) -> None:
        if self._trainable.can_save():
            self._save(result, forced=True)
        else:
            log.warning("no checkpoint for %s: the trainable cannot save", asked_by)

    def _interrupted(self) -> End:
        """Save what there is; the attempt's successor goes on from it."""
        last = self._reporter.last
        self._saver.wait()
        by_us = self._trainable.can_save() and not self._by_itself
        if self._session.on_preemption and last is not None and by_us:
            self._save_in_time(last.metrics)
        return End(Outcome.INTERRUPTED, "Interrupted", signal=self._interruption.signal)

    def _save_in_time(self, result: Mapping[str, Any]) -> None:
        """Begin no save that certainly does not fit: the end is told sooner without it."""
        left = self._interruption.seconds_left()
        if self._saver.seconds > left:
            log.warning(
                "iteration %d is not saved: that takes at least %.1f s, %.1f s are left",
                self._progress.iteration, self._saver.seconds, left,
            )  # fmt: skip
            return
        self._save(result, forced=True)
        self._saver.wait()


def _asks_to_save(result: Mapping[str, Any]) -> bool:
    return bool(result.get(names.SHOULD_CHECKPOINT))


def require_checkpoints(session: SessionResponse, trainable: type[Trainable]) -> None:
    """Raises AttemptFailed (NotCheckpointable) when a trainable cannot do what is asked of it."""
    if issubclass(trainable, FunctionTrainable):
        asked = {
            "frequency": session.frequency,
            "maxLostSeconds": session.max_lost_seconds,
            "atEnd": session.at_end,
        }
        if fields := [f"spec.checkpoint.{name}" for name, value in asked.items() if value]:
            raise AttemptFailed(
                Reason.NOT_CHECKPOINTABLE,
                f"{' and '.join(fields)} cannot be used with {trainable.__name__}(): a function "
                "itself says when it saves, with report(metrics, checkpoint=...)",
            )
    wanted = session.frequency or session.max_lost_seconds or session.at_end
    if wanted and not trainable.can_save():
        raise AttemptFailed(
            Reason.NOT_CHECKPOINTABLE,
            f"spec.checkpoint asks for checkpoints, but {trainable.__name__} does not override "
            "save_checkpoint()",
        )
    if session.plan and not trainable.can_load():
        raise AttemptFailed(
            Reason.NOT_CHECKPOINTABLE,
            f"there is a checkpoint to go on from, but {trainable.__name__} does not override "
            "load_checkpoint()",
        )
