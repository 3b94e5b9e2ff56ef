"""The function API: ``train(config)`` calls ``report``, and each report is one iteration.

The function runs in a thread of its own and the training loop in the main thread, as with a class:
the loop asks for one iteration after the other, and ``report`` returns when it asks for the next.
So a trial can end at every report, whatever the function does afterwards.
"""

from __future__ import annotations

import copy
import inspect
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

from tune_trainer import result as names
from tune_trainer.checkpoint.reference import Checkpoint
from tune_trainer.context import TrialContext, current
from tune_trainer.failure import during
from tune_trainer.trainable import Trainable

TrainFunction = Callable[[dict[str, Any]], Any]


class TrialStopped(SystemExit):
    """The trial is over: what ``report`` raises instead of returning.

    It is no Exception, so that ``except Exception`` lets it pass. Clean up in ``finally``.
    """


@dataclass(frozen=True)
class Report:
    """One call of ``report``."""

    metrics: dict[str, Any]
    checkpoint: Checkpoint | None


class Exchange:
    """Hands reports from the function's thread to the loop's, one at a time."""

    def __init__(self, body: Callable[[], None]) -> None:
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._waiting: Report | None = None
        self._over = False
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(body,), name="train", daemon=True)

    def next(self) -> Report | None:
        """Let the function go on to its next report; None when it has returned.

        Raises what the function raised.
        """
        with self._changed:
            self._waiting = None  # the one before is dealt with
            self._changed.notify_all()
            if self._thread.ident is None:  # not earlier: its first report would be lost
                self._thread.start()
            self._changed.wait_for(self._has_news)
            return self._news()

    def hand_over(self, report: Report) -> None:
        """Called by the function: wait until the loop has dealt with it; raises TrialStopped."""
        with self._turn, self._changed:  # one after the other, where several threads report
            if not self._stopped:
                self._waiting = report
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopped or self._waiting is None)
            if self._stopped:
                raise TrialStopped

    def stop(self) -> None:
        """End the function where it reports, and wait for its end; raises what it raises then."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.ident is None:
            return
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _has_news(self) -> bool:
        return self._over or self._waiting is not None

    def _news(self) -> Report | None:
        if self._waiting is None and self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._waiting

    def _run(self, body: Callable[[], None]) -> None:
        error: BaseException | None = None
        try:
            body()
        except TrialStopped:
            pass
        except BaseException as raised:  # noqa: BLE001 - carried to the loop's thread
            error = raised
        with self._changed:
            self._error = error
            self._over = True
            self._changed.notify_all()


class FunctionTrainable(Trainable):
    """A function as a Trainable. ``wrap`` makes a subclass for each function."""

    function: Callable[..., Any]

    def setup(self, config: dict[str, Any]) -> None:  # noqa: ARG002 - the function gets its own
        self._context = current.get() or TrialContext()
        self._exchange = Exchange(self._body)
        self._process = os.getpid()
        self._reported: Checkpoint | None = None
        self._latest: Checkpoint | None = None

    def step(self) -> dict[str, Any]:
        """One report as the result of an iteration.

        What it says of ``should_checkpoint`` is whether it has a checkpoint, and its time stamp is
        always filled in, as in Ray Tune.
        """
        _enter(self)
        report = self._exchange.next()
        if report is None:
            return {names.RESULT_DUPLICATE: True}
        self._reported = report.checkpoint
        result = dict(report.metrics)
        result.pop(names.TIMESTAMP, None)
        result.pop(names.SHOULD_CHECKPOINT, None)
        if report.checkpoint is not None:
            result[names.SHOULD_CHECKPOINT] = True
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copy what was reported with this iteration; the function waits in ``report`` for it."""
        if self._reported is None:
            raise RuntimeError("there is no checkpoint but those that the function reports")
        with during("report(checkpoint=...)", self.trial_id, self.iteration):
            self._reported.to_directory(checkpoint_dir)
        # The reported directory may be gone soon; the one in the store stays.
        stored = self._context.stored
        self._latest = self._reported if stored is None else stored(self.iteration)
        self._reported = None

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Keep the directory's content for ``get_checkpoint``; the directory itself goes away."""
        if not isinstance(checkpoint, str) or not Path(checkpoint).is_dir():
            raise TypeError(
                "the checkpoint holds no directory but what a class returned from "
                "save_checkpoint(): a function cannot go on from it"
            )
        directory = Path(checkpoint)
        kept = Path(tempfile.mkdtemp(prefix="resumed-", dir=directory.parent))
        for child in directory.iterdir():
            child.rename(kept / child.name)
        self._latest = Checkpoint.from_directory(kept)

    def cleanup(self) -> None:
        """End the function: ``report`` raises TrialStopped, and ``finally`` gets its time."""
        try:
            self._exchange.stop()
        finally:
            _enter(None)

    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        """See ``report``."""
        if os.getpid() != self._process:
            raise RuntimeError("report() works in the process of the trial, not in its workers")
        if not isinstance(metrics, Mapping):
            raise TypeError(f"report() must get a dict, got {type(metrics).__name__}")
        if checkpoint is not None:
            if not isinstance(checkpoint, Checkpoint):
                raise TypeError(
                    "report(checkpoint=...) must get a tune_trainer.Checkpoint, such as "
                    f"Checkpoint.from_directory(path), got {type(checkpoint).__name__}"
                )
            with during("report(checkpoint=...)", self.trial_id, self.iteration + 1):
                checkpoint.require()
        self._exchange.hand_over(Report(dict(metrics), checkpoint))

    def latest(self) -> Checkpoint | None:
        """See ``get_checkpoint``."""
        return self._latest

    def _body(self) -> None:
        output = self.function(copy.deepcopy(self.config))
        if inspect.isgenerator(output):
            with closing(output):  # its finally clauses run before the thread ends
                for item in output:
                    self._report_output(item)
        else:
            self._report_output(output)

    def _report_output(self, output: Any) -> None:
        """A returned or yielded value is a report too, unless it is empty."""
        if not isinstance(output, Mapping | Number | None):
            raise TypeError(
                f"{type(self).__name__}() must return or yield a dict of metrics, a number or "
                f"nothing, got {type(output).__name__}"
            )
        if not output:
            return
        metrics = output if isinstance(output, Mapping) else {names.DEFAULT_METRIC: output}
        self.report(metrics, None)


def wrap(function: TrainFunction) -> type[FunctionTrainable]:
    """The Trainable that runs this function; it has the function's name."""
    name = getattr(function, "__name__", type(function).__name__)
    return type(name, (FunctionTrainable,), {"function": staticmethod(function)})


_running: FunctionTrainable | None = None


def _enter(trainable: FunctionTrainable | None) -> None:
    global _running  # noqa: PLW0603 - a process runs one trial
    _running = trainable


def report(metrics: Mapping[str, Any], checkpoint: Checkpoint | None = None) -> None:
    """Tell the result of one iteration, and with it a checkpoint to go on from.

    Returns when the result is judged and the checkpoint's directory is copied: the upload goes on
    beside the training, and the directory is the caller's again. Raises TrialStopped when the trial
    is over, FileNotFoundError for a directory that does not exist. Outside of a function that a
    trial runs it warns and does nothing.
    """
    if _running is None:
        _misused("report()")
    else:
        _running.report(metrics, checkpoint)


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint to go on from: the last one reported, at the start that of the restore."""
    if _running is None:
        _misused("get_checkpoint()")
        return None
    return _running.latest()


def _misused(call: str) -> None:
    warnings.warn(
        f"{call} does nothing outside of a function that a trial runs as its entry point",
        stacklevel=3,
    )
