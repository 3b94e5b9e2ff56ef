"""The end of the process, whatever the user's code leaves behind.

Python waits for every thread and worker process that is no daemon. One that never ends would keep
the Pod running after its attempt ended: only a Pod that is over is settled when it failed.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

log = logging.getLogger(__name__)

SECONDS = 10.0
"""What threads and exit handlers of the user's code get after the attempt's end was told."""


def exit_within(seconds: float, code: int) -> None:
    """End the process with ``code`` if it still runs ``seconds`` from now."""

    def end() -> None:
        time.sleep(seconds)
        log.warning("something of the user's code still runs after the end: exiting without it")
        exit_now(code)

    threading.Thread(target=end, name="departure", daemon=True).start()


def exit_now(code: int) -> None:
    """End the process with ``code``, whatever else runs; what was printed is not lost."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
