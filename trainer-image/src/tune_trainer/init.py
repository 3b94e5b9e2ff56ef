"""Process 1 of a container, when the trainer would be it.

The kernel gives every orphan of the container to process 1, such as what a data loader's worker
started and left behind. Reaping them beside the user's own ``waitpid`` would take its children from
it, so a small parent does it that does nothing else: it passes signals on, reaps, and ends as the
trainer ends. Where the container has another process 1 (tini, a shared process namespace), the
trainer runs without it.
"""

from __future__ import annotations

import os
import signal

PASSED_ON = frozenset(
    {
        signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2,
        signal.SIGHUP, signal.SIGQUIT,
    }
)  # fmt: skip


def become() -> None:
    """Return in a child, and stay its parent until it ends. Before any thread is started."""
    everything = signal.valid_signals()
    # Blocked, they wait for sigwaitinfo; process 1 would never see those without a handler.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    trainer = os.fork()
    if trainer == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return
    while True:
        sent = signal.sigwaitinfo(everything)
        if sent.si_signo == signal.SIGCHLD:
            code = _reap(trainer)
            if code is not None:
                os._exit(code)
        # What the kernel itself sends (si_code > 0) comes from a terminal: the trainer has it too.
        elif sent.si_signo in PASSED_ON and sent.si_code <= 0:
            os.kill(trainer, sent.si_signo)


def _reap(trainer: int) -> int | None:
    """Take in all that have ended; the exit code of the trainer if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == trainer:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended  # as a shell tells a signal
