"""The process: environment in, exit code out."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Mapping

from tune_trainer import departure, entrypoint, session, signals
from tune_trainer.attempt import AttemptRunner
from tune_trainer.errors import AttemptFailed, TrainerError, Unusable
from tune_trainer.interruption import Interruption
from tune_trainer.limits import Limits
from tune_trainer.operator_client import OperatorClient
from tune_trainer.protocol.environment import EXIT_FAILED, EXIT_UNUSABLE
from tune_trainer.settings import Settings
from tune_trainer.store import connection
from tune_trainer.store.s3 import S3Store
from tune_trainer.trainable import Trainable

log = logging.getLogger(__name__)


def main(arguments: list[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run the attempt of this Pod; returns the exit code (0, 1 or 75)."""
    _log_to_stderr()
    try:
        settings = Settings.read(environ, arguments)
        return _run(settings, Limits())
    except AttemptFailed as error:  # so early that there is no session to record it in
        log.critical("%s", error)
        return EXIT_FAILED
    except TrainerError as error:
        log.critical("%s: %s", type(error).__name__, error)
        # At once: threads may still wait for a store or an operator that is of no use any more.
        departure.exit_now(EXIT_UNUSABLE)


def _run(settings: Settings, limits: Limits) -> int:
    interruption = Interruption(settings.grace)
    signals.watch(interruption.notice)
    entry = _load(settings.entrypoint)
    # A class that cannot be loaded still gets its session: there its failure can be recorded.
    loaded = entry if isinstance(entry, type) else Trainable
    client = OperatorClient(settings.session_url, settings.ca, settings.token_file)
    request = session.request_for(
        settings.trial, settings.attempt,
        can_save=loaded.can_save(), can_load=loaded.can_load(),
    )  # fmt: skip
    opened = session.open_session(client, request, limits.session)
    storage = opened.storage

    @functools.cache
    def bucket(name: str) -> S3Store:
        return S3Store(storage.endpoint, storage.region, name, settings.credentials)

    try:
        store = bucket(storage.bucket)
    except ValueError as error:
        raise Unusable(f"spec.storage.endpoint {storage.endpoint!r}: {error}") from None
    connection.use(bucket)  # for checkpoints that the user's code names by URI
    return AttemptRunner(opened, client, store, interruption, limits).run(entry)


def _load(name: str) -> type[Trainable] | AttemptFailed:
    try:
        return entrypoint.load(name)
    except AttemptFailed as failed:
        return failed


def _log_to_stderr() -> None:
    """Our own lines only: how the user logs is the user's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s tune_trainer: %(message)s"))
    logger = logging.getLogger("tune_trainer")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
