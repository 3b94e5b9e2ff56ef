"""The two ways this tool fails, each with what the user can do about it."""

from pathlib import Path


class ClusterError(Exception):
    """A step failed. `log` names the file that says why, when there is one."""

    exit_code = 1

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class Missing(ClusterError):
    """The machine lacks something; the message says what, and what to do."""

    exit_code = 2


def last_line(log: Path) -> str:
    """The last words of a log, for an error message."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it wrote no log"
    return lines[-1][:300] if lines else "its log is empty"
