"""Becomes a server process after writing its own pid file.

The process itself writes the file, before exec: however early the starting command is killed,
no server runs that no pid file names. Pid and start time survive exec. Run as a script.
"""

import json
import os
import sys
from pathlib import Path


def main(pid_file: str, digest: str, *command: str) -> None:
    """Write `pid_file`, then exec `command`."""
    stat = Path("/proc/self/stat").read_text()
    record = {
        "pid": os.getpid(),
        "started": int(stat.rpartition(")")[2].split()[19]),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "digest": digest,
    }
    partial = Path(f"{pid_file}.new")
    partial.write_text(json.dumps(record))
    partial.rename(pid_file)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(*sys.argv[1:])
