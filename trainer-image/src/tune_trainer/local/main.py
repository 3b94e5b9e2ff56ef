"""One trial in this process: the code of a Pod, with a folder and ourselves for an operator."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Sequence

from tune_trainer import entrypoint, session, signals
from tune_trainer.attempt import AttemptRunner
from tune_trainer.departure import exit_now
from tune_trainer.errors import AttemptFailed, TrainerError
from tune_trainer.interruption import Interruption
from tune_trainer.limits import Limits
from tune_trainer.local import runs
from tune_trainer.local.command import Command, Wrong, parse
from tune_trainer.local.display import Display, DisplayHandler
from tune_trainer.local.operator import LocalOperator
from tune_trainer.local.runs import TRIAL, Run
from tune_trainer.protocol.environment import EXIT_FAILED, EXIT_UNUSABLE
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef, RunKeys
from tune_trainer.protocol.manifest import Manifest
from tune_trainer.store.base import StoreError
from tune_trainer.trainable import Trainable

log = logging.getLogger(__name__)

EXIT_WRONG = 2
"""The command cannot be carried out, as argparse says it."""

GRACE = 60.0
"""Seconds from the first interrupt to the end; nobody kills us, and a second one does not wait."""

LIMITS = Limits(upload=30.0, restore=30.0, denied=30.0)
"""A disk that fails is not a server that comes back."""

RESULTS = "results.jsonl"

QUIET = ("tune_trainer.checkpoint.saver", "tune_trainer.ending")
"""What these say in passing, the display shows."""


def main(arguments: Sequence[str]) -> int:
    """Run a trial here. Exit code: 0 completed, 1 failed, 2 a wrong command, 75 the folder cannot
    be used, 128 + signal interrupted.
    """
    try:
        command = parse([argument for argument in arguments if argument != "--local"])
        entry = entrypoint.load(command.entrypoint)
        with runs.opened(command) as run:
            return _train(command, run, entry)
    except AttemptFailed as failed:
        print(f"tune_trainer: {failed.message}", file=sys.stderr)  # noqa: T201 - a command's answer
        return EXIT_FAILED
    except Wrong as error:
        print(f"tune_trainer: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_WRONG
    except StoreError as error:
        print(f"tune_trainer: --storage: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_UNUSABLE


def _train(command: Command, run: Run, entry: type[Trainable]) -> int:
    display = Display(run.session)
    _log_to(display)

    def leave(code: int) -> None:
        """End at once, from whatever thread."""
        display.close()
        exit_now(_exit_code(run, code))

    interruption = Interruption(GRACE, leave)
    signals.watch(interruption.notice)
    operator = LocalOperator(run.session, run.folder / RESULTS, display)
    request = session.request_for(TRIAL, run.attempt, can_save=True, can_load=True)
    log.info("run %s, attempt %d", run.folder, run.attempt)
    try:
        opened = session.open_session(operator, request, LIMITS.session)
        code = AttemptRunner(opened, operator, run.store, interruption, LIMITS).run(entry)
    except TrainerError as error:
        log.critical("%s", error)
        leave(EXIT_UNUSABLE)  # at once: threads may still wait for the folder
        raise
    display.close()
    _tell(command, run, display)
    return _exit_code(run, code)


def _record(run: Run) -> ExitRecord | None:
    key = RunKeys(run.root).trial(TRIAL).exit_record(run.attempt)
    try:
        return ExitRecord.from_bytes(run.store.get(key))
    except (StoreError, ProtocolError):
        return None


def _exit_code(run: Run, code: int) -> int:
    """In a Pod an interruption is no failure; a shell must not take it for the end."""
    record = _record(run)
    if record is None or record.outcome is not Outcome.INTERRUPTED:
        return code
    return 128 + signal.Signals[record.signal]


def _tell(command: Command, run: Run, display: Display) -> None:
    """How it ended, and where everything is."""
    record = _record(run)
    if record is None:
        return
    why = record.message.partition("\n")[0] or record.reason
    lines = [f"{record.outcome} at iteration {record.iteration}: {why}"]
    if display.best is not None and run.settings.metric != "training_iteration":
        value, iteration = display.best
        lines.append(f"best {run.settings.metric}: {value:.6g} at iteration {iteration}")
    if record.last_result is not None:
        lines.append(f"results: {run.folder / RESULTS}")
    found = runs.checkpoints(run.store, run.root)
    if found:
        lines.append(f"newest checkpoint: {_place(run, found[0])}")
    if found and record.outcome is not Outcome.COMPLETED:
        again = [
            "python", "-m", "tune_trainer", "--local", command.entrypoint,
            "--storage", str(command.storage), "--resume",
        ]  # fmt: skip
        lines.append(f"to go on: {shlex.join(again)}")
    print("\n".join(line.rstrip() for line in lines))  # noqa: T201


def _place(run: Run, ref: CheckpointRef) -> str:
    """The folder with the files of a checkpoint."""
    keys = RunKeys(run.root).trial(TRIAL)
    try:
        manifest = Manifest.from_bytes(run.store.get(keys.manifest(ref)))
    except (StoreError, ProtocolError) as error:
        return f"{ref}: {error}"
    return f"{run.folder.parents[1] / keys.folder(manifest.data)}"


def _log_to(display: Display) -> None:
    """Our own lines only: how the user logs is the user's."""
    logger = logging.getLogger("tune_trainer")
    logger.addHandler(DisplayHandler(display))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
