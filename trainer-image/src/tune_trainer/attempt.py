"""One attempt from its session to its end."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_trainer import context, departure, preemption, state
from tune_trainer.checkpoint.reference import Checkpoint, Stored
from tune_trainer.checkpoint.restore import fetch
from tune_trainer.checkpoint.saver import Attempt, Saver
from tune_trainer.context import Facts, TrialContext, current
from tune_trainer.ending import End, Ending
from tune_trainer.errors import AttemptFailed, Fenced, TrainerError, Unusable
from tune_trainer.failure import describe, during
from tune_trainer.interruption import Interruption
from tune_trainer.limits import Limits
from tune_trainer.loop import TrainingLoop, require_checkpoints
from tune_trainer.operator_client import Operator
from tune_trainer.pace import Pace
from tune_trainer.progress import Progress
from tune_trainer.protocol.environment import EXIT_OK, EXIT_UNUSABLE
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef, RunKeys
from tune_trainer.protocol.messages import SessionResponse
from tune_trainer.reporter import Reporter
from tune_trainer.retry import Retry
from tune_trainer.spool import Spool
from tune_trainer.store.base import Store
from tune_trainer.trainable import Trainable

log = logging.getLogger(__name__)


class AttemptRunner:
    """Owns the threads and the staging directory of one attempt."""

    def __init__(
        self, session: SessionResponse, client: Operator, store: Store,
        interruption: Interruption, limits: Limits,
    ) -> None:  # fmt: skip
        self._session = session
        self._store = store
        self._interruption = interruption
        self._limits = limits
        attempt = Attempt(
            experiment=session.experiment,
            trial=session.trial,
            number=session.attempt,
            keys=RunKeys(session.storage.root).trial(session.trial),
        )
        self._keys = attempt.keys
        spool = Spool(session.metric, session.mode, limits.spool_results, limits.spool_bytes)
        self._reporter = Reporter(client, session.attempt, spool, limits)
        self._staging = Path(tempfile.mkdtemp(prefix="tune-"))
        retry = Retry(limits.upload, denied=limits.denied)
        self._saver = Saver(attempt, store, self._reporter, self._staging, retry)
        self._ending = Ending(attempt, store, client, self._reporter, limits)
        self._trainable: Trainable | None = None

    def run(self, entry: type[Trainable] | AttemptFailed) -> int:
        """The exit code. ``entry`` is what the entry point named, or why it named nothing.

        Raises Fenced and Unusable: then there is no record.
        """
        self._interruption.starting(self._give_up, self._reporter.hurry)
        self._reporter.start()
        end = self._ending.write(self._end(entry), self._limits.upload)
        self._cleanup(end.code)
        self._interruption.ended(end.code)
        shutil.rmtree(self._staging, ignore_errors=True)
        self._ending.tell(self._limits.complete)
        if end.outcome is Outcome.FAILED:
            # The kubelet shows the end of the log as the container's message.
            log.error("trial %s, attempt %d: %s: %s", self._session.trial, self._session.attempt,
                      end.reason, end.message)  # fmt: skip
        return end.code

    def _end(self, entry: type[Trainable] | AttemptFailed) -> End:
        try:
            if isinstance(entry, AttemptFailed):
                raise entry
            require_checkpoints(self._session, entry)
            return self._train(entry)
        except AttemptFailed as failed:
            return self._failed(failed.reason, failed.message)
        except TrainerError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            return self._failed(type(error).__name__, describe(error))

    def _train(self, entry: type[Trainable]) -> End:
        progress = Progress()
        restored: Mapping[str, Any] | None = None
        trainable = self._made(entry, progress)
        self._trainable = trainable
        if self._session.plan:
            restored = self._restore(trainable, progress)
        pace = Pace(lambda: self._saver.seconds)
        self._interruption.training(pace, self._saver.settle)
        if self._session.on_preemption:
            self._interruption.announced = preemption.watch().notice
        loop = TrainingLoop(
            self._session, trainable, progress, self._saver, self._reporter, self._interruption,
            pace, self._limits,
        )  # fmt: skip
        self._enter_context(loop.wants_checkpoint)
        return loop.run(restored)

    def _made(self, entry: type[Trainable], progress: Progress) -> Trainable:
        trial = self._session.trial
        self._enter_context(lambda: False)  # there is nothing to save yet
        token = current.set(TrialContext(trial, progress, self._stored))
        try:
            with during("setup()", trial, progress.iteration):
                return entry(dict(self._session.config))
        finally:
            current.reset(token)

    def _enter_context(self, wanted: Callable[[], bool]) -> None:
        """What ``get_context()`` tells the user's code."""
        session = self._session
        context.enter(
            Facts(session.experiment, session.trial, session.attempt, dict(session.config), wanted)
        )

    def _stored(self, iteration: int) -> Checkpoint:
        """The checkpoint that this attempt commits at an iteration."""
        ref = CheckpointRef(self._session.attempt, iteration)
        stored = Stored(self._session.storage.bucket, self._keys, ref, self._store)
        return Checkpoint(stored.uri, stored=stored)

    def _restore(self, trainable: Trainable, progress: Progress) -> Mapping[str, Any]:
        retry = Retry(self._limits.restore, denied=self._limits.denied)
        with fetch(
            self._store, self._keys, self._session.plan, self._staging, retry
        ) as restored:  # fmt: skip
            manifest = restored.manifest
            progress.restore(manifest.progress)
            state.load(trainable, manifest.kind, manifest.relative, restored.directory)
        self._saver.restored(progress.iteration)
        self._ending.restored(progress.iteration)
        log.info("restored checkpoint %s (iteration %d)", manifest.ref, progress.iteration)
        return manifest.metrics

    def _failed(self, reason: str, message: str) -> End:
        """The user's failure; a checkpoint on its way still helps the next attempt."""
        try:
            self._saver.wait()
        except (Fenced, Unusable):
            raise
        except BaseException as error:  # noqa: BLE001 - the first failure is the one to tell
            log.warning("the last checkpoint was not committed: %s", error)
        return End(Outcome.FAILED, reason, message)

    def _give_up(self, signal: str, seconds: float) -> int:
        """A signal's grace is over: say so without a new checkpoint. Called by another thread."""
        if self._reporter.fenced:
            return EXIT_UNUSABLE
        try:
            end = self._ending.write(
                End(Outcome.INTERRUPTED, "Interrupted", signal=signal), seconds
            )  # fmt: skip
        except (Unusable, TimeoutError) as error:
            log.warning("no exit record: %s", error)
            return EXIT_UNUSABLE
        return end.code if end.outcome is Outcome.FAILED else EXIT_OK

    def _cleanup(self, code: int) -> None:
        if self._trainable is None:
            return
        done = threading.Event()

        def end_without_it() -> None:
            if done.wait(self._limits.cleanup):
                return
            log.warning("cleanup() still runs after %.0f s: exiting", self._limits.cleanup)
            self._ending.tell(self._limits.complete)
            departure.exit_now(code)

        threading.Thread(target=end_without_it, name="cleanup", daemon=True).start()
        try:
            self._trainable.cleanup()
        except BaseException:  # the end is written: nothing changes it any more
            log.exception("cleanup() failed")
        finally:
            done.set()
