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
            {session.metric, *session.criteria, names.DONE, names.TRAINING_ITERATION}
        )

    def run(self, restored: Mapping[str, Any] | None) -> End:
        """Train until the trial is done, a criterion is reached, or a signal came.

        ``restored`` is the result the checkpoint was saved with: a trial that was done by it trains
        no further. Raises AttemptFailed, Fenced, Unusable, and what the user's code raises.
        """
        if restored is not None and (end := self._end(restored)):
            return End(end.outcome, end.reason, end.message, last_result=Result(1, restored))
        while True:
            if self._interruption.requested.is_set():
                return self._interrupted()
            self._pace.begin()
            result = self._trainable.train()
            seconds = self._pace.end()
            if end := self._take(result, seconds):
                return end

    def _take(self, raw: dict[str, Any], seconds: float) -> End | None:
        """One result: judge it, keep it, save if due, do what the operator says.

        Of ends that come together the trial's own wins, then a Stop, then a signal: the order in
        which the operator ranks them.
        """
        result = metrics.bounded(metrics.plain(raw), self._limits.result_bytes, self._first)
        metrics.require_objective(result, self._session.metric)
        end = self._end(result)
        if end is None:
            metrics.require_criteria(result, self._session.criteria)
        self._reporter.add(result)  # before the save: the manifest carries it
        self._save_if_due(result, last=end is not None)
        if end is None:
            self._heed(self._interruption.announced(), result)
            end = self._obey(self._reporter.answer(seconds), result)
        if end is not None:
            self._saver.wait()
        return end

    def _end(self, result: Mapping[str, Any]) -> End | None:
        if result.get(names.DONE):
            return End(Outcome.COMPLETED, Reason.COMPLETED)
        if met := metrics.reached(result, self._session.criteria):
            return End(Outcome.COMPLETED, Reason.STOPPED_BY_CRITERIA, met)
        return None

    def _save_if_due(self, result: Mapping[str, Any], *, last: bool) -> None:
        frequency = self._session.frequency
        forced = bool(result.get(names.SHOULD_CHECKPOINT)) or (last and self._session.at_end)
        periodic = frequency > 0 and self._progress.iteration % frequency == 0
        if forced or periodic or self._cadence.is_due():
            self._save(result, forced=forced)

    def _save(self, result: Mapping[str, Any], *, forced: bool) -> None:
        if self._saver.save(self._trainable, self._progress, result, forced=forced):
            self._cadence.saved()

    def _heed(self, announcer: str, result: Mapping[str, Any]) -> None:
        """Save once when somebody announces the end; it may be withdrawn, and come again."""
        if announcer and not self._heeded:
            self._save_if_possible(result, f"the notice of {announcer}")
        self._heeded = announcer

    def _obey(self, directive: Directive, result: Mapping[str, Any]) -> End | None:
        """Do what the operator asks for; a checkpoint once per ID, for it repeats itself."""
        match directive.kind:
            case DirectiveKind.STOP:
                if self._session.at_end:
                    self._save(result, forced=True)
                return End(Outcome.STOPPED, Reason.STOPPED_BY_DIRECTIVE, directive=directive.id)
            case DirectiveKind.CHECKPOINT if directive.id != self._obeyed:
                self._obeyed = directive.id
                self._save_if_possible(result, f"directive {directive.id}")
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
        if self._session.on_preemption and last is not None and self._trainable.can_save():
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


def require_checkpoints(session: SessionResponse, trainable: type[Trainable]) -> None:
    """Raises AttemptFailed (NotCheckpointable) when a class cannot do what is asked of it."""
    asked = session.frequency or session.max_lost_seconds or session.at_end
    if asked and not trainable.can_save():
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
