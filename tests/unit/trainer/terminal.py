"""A process in front of a terminal of its own, whose keys a test presses."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

IN_FRONT = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A session's leader that opens a terminal gets it as its own.

At its end the kernel would hang up on all in front of it, which hides who would be left below a
shell that goes on: so they ignore that.
"""


class Terminal:
    """Starts one process as its session's leader; keeps all that it shows."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], cwd: str | None = None
    ) -> None:
        self._master, slave = pty.openpty()

        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_FRONT, *arguments],
            env=dict(environ), cwd=cwd, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace")

    def press(self, key: str) -> None:
        """Such as "\\x03" for Ctrl-C: the kernel makes a signal to the whole group of it."""
        os.write(self._master, key.encode())

    def ended(self, seconds: float) -> int:
        """Exit code; all is shown by then, and nobody is left in front of the terminal."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        assert not self._reader.is_alive(), "somebody is left in front of the terminal"
        return code

    def close(self) -> None:
        """End what is left; it has the number of the session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # the last process in front of it has ended
                return
            self._shown += data
