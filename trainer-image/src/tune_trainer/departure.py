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
from typing import NoReturn

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


def exit_now(code: int) -> NoReturn:
    """End the process with ``code``, whatever else runs; what was printed is not lost.

    Daemonic workers of multiprocessing end with it, as in an exit that waits. Outside a container
    nobody else ends them, and the terminal's interrupt is kept from them (``signals.watch``).
    """
    try:
        multiprocessing = sys.modules.get("multiprocessing")  # dear to import for who has none
        for worker in multiprocessing.active_children() if multiprocessing else ():
            if worker.daemon:
                worker.kill()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
