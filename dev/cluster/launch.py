"""Starts a server of its own session that writes its own pid file before it becomes the server.

However early the starting command is killed, no server runs that no pid file names. Pid and
start time survive exec. Run as a script; it returns when the server's program runs.
"""

import json
import os
import sys
from pathlib import Path


def main(pid_file: str, digest: str, *command: str) -> None:
    """Fork; the child writes `pid_file`, then becomes `command`."""
    ours, child_s = os.pipe()  # the kernel closes the child's end on exec
    if os.fork() == 0:
        os.close(ours)
        os.setsid()  # Ctrl-C is for the tool, which decides what to stop
        _write(Path(pid_file), digest)
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    os.close(child_s)
    os.read(ours, 1)  # end of file: exec succeeded, or the child ended


def _write(pid_file: Path, digest: str) -> None:
    stat = Path("/proc/self/stat").read_text()
    record = {
        "pid": os.getpid(),
        "started": int(stat.rpartition(")")[2].split()[19]),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "digest": digest,
    }
    partial = pid_file.with_suffix(".new")
    partial.write_text(json.dumps(record))
    partial.rename(pid_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
