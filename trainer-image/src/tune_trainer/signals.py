"""Signals as a stream of names, seen at once even while the training thread is deep in C code.

Python runs a handler between two bytecodes of the main thread, which a long NumPy call delays. The
interpreter writes each signal's number to a pipe at once (``signal.set_wakeup_fd``); a thread reads
it. The same works for process 1 of a container, for which the kernel ignores unhandled signals.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def watch(on_signal: Callable[[str], None]) -> None:
    """Call ``on_signal`` with "SIGTERM", "SIGINT" or "SIGUSR1" from a thread, for ever.

    Only the main thread may call this, once.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in HANDLED:
        signal.signal(number, _noted)
    # A forked worker shares the pipe: without this, stopping it would stop the trial. The mask
    # covers the moment in which the worker exists and has not forgotten yet.
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_forget)
    names = {int(number): number.name for number in HANDLED}
    if _has_terminal():
        # Ctrl-C reaches every process in front of the terminal. Workers inherit the mask of the
        # thread that starts them, through exec too: they serve the iteration to its end.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def read() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        while data := os.read(reader, 64):
            for number in data:
                if number in names:
                    on_signal(names[number])

    threading.Thread(target=read, name="signals", daemon=True).start()


def _has_terminal() -> bool:
    """Whether a terminal can interrupt this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _noted(number: int, frame: object) -> None:
    """The pipe has told the watching thread."""


_held = threading.local()


def _hold() -> None:
    _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)


def _forget() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
    _let_go()
