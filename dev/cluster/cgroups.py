"""A real cluster's own cgroup, below which its kubelet puts the Pods.

With a shared one, the kubelets of two clusters would remove each other's Pods as orphans.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

KILL_SECONDS = 10.0
POLL_SECONDS = 0.05


def hierarchies(mountinfo: str) -> list[Path]:
    """The cgroup file systems in /proc/self/mountinfo: one for version 2, several for 1."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] in {"cgroup", "cgroup2"}:
            found.append(Path(left.split()[4]))
    return found


def _roots() -> list[Path]:
    return hierarchies(Path("/proc/self/mountinfo").read_text())


def ensure(name: str) -> None:
    """Create the cgroup in every hierarchy."""
    for root in _roots():
        controllers = root / "cgroup.subtree_control"
        if controllers.exists():
            for controller in (root / "cgroup.controllers").read_text().split():
                # Version 2 hands down what its parent enables; one that cannot be is not needed.
                with contextlib.suppress(OSError):
                    controllers.write_text(f"+{controller}")
        folder = root / name
        folder.mkdir(exist_ok=True)


def remove(name: str) -> None:
    """Kill every process in the cgroup (the containers) and remove it."""
    deadline = time.monotonic() + KILL_SECONDS
    while (pids := set(_processes(name))) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    for root in _roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _processes(name: str) -> Iterator[int]:
    for root in _roots():
        for folder, _, _ in os.walk(root / name):
            with contextlib.suppress(OSError):
                yield from map(int, (Path(folder) / "cgroup.procs").read_text().split())
