"""Stops a cluster and removes what it made: processes, mounts, network, cgroup, files."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from . import cgroups, network
from .console import Console
from .errors import ClusterError, Missing
from .paths import ClusterPaths
from .plan import Plan
from .processes import Processes

# What starts Pods goes before what they run on; the API server and its store go last.
FIRST = ("kubelet", "kube-proxy", "kwok", "coredns")
LAST = ("containerd", "kube-apiserver", "etcd")
# At fixed places too; the inner ones first.
SHARED_FOLDERS = (
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/log/containers",
    "/run/containerd/s",
    "/run/containerd",
)


def stop_order(names: list[str]) -> list[str]:
    """The names in the order in which to stop them."""
    middle = [name for name in names if name not in FIRST and name not in LAST]
    return [n for n in FIRST if n in names] + middle + [n for n in LAST if n in names]


def stop(paths: ClusterPaths, console: Console) -> None:
    """End everything that runs for the cluster; its files stay.

    Raises:
        Missing: only root can do it.
    """
    plan = Plan.read(paths)
    processes = Processes(paths.run, paths.logs)
    names = processes.names()
    if plan is None and not names:
        return
    if plan and plan.real and os.geteuid() != 0:
        raise Missing(f"cluster {paths.name} has real nodes: take it down as root")
    with console.step(f"stop {paths.name}"):
        paths.description.unlink(missing_ok=True)
        for name in stop_order(names):
            if name == "containerd":
                _end_containers(paths)
            processes.stop(name)
        if plan and plan.real:
            _end_containers(paths)
            _unmount(paths)
            network.remove(plan)
            _remove_traces(paths, plan)


def remove(paths: ClusterPaths) -> None:
    """Remove the folder of a stopped cluster.

    Raises:
        ClusterError: a file system is still mounted in it, whose files are not ours to remove.
    """
    if left := _mounts(paths):
        raise ClusterError(f"still mounted: {left[0]}; run: umount {left[0]}")
    shutil.rmtree(paths.root, ignore_errors=True)
    if paths.root.exists():
        shutil.rmtree(paths.root)  # a second try tells why


def _end_containers(paths: ClusterPaths) -> None:
    """Kill the containers, which live in the cluster's cgroup, then their shims."""
    cgroups.remove(f"tune-{paths.name}")
    address = str(paths.containerd_socket).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            # A shim is told the socket of its containerd, which is this cluster's own file.
            if b"-address" in arguments and address in arguments:
                os.kill(int(folder.name), signal.SIGKILL)


def _mounts(paths: ClusterPaths) -> list[str]:
    """What is mounted below the cluster's folder, the deepest first."""
    table = Path("/proc/self/mountinfo").read_text()
    return mounts_below(str(paths.root), table)


def mounts_below(folder: str, mountinfo: str) -> list[str]:
    """The mount points below `folder` in /proc/self/mountinfo, the deepest first."""
    points = [line.split()[4] for line in mountinfo.splitlines()]
    # The kernel writes blanks and backslashes in octal.
    points = [re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), p) for p in points]
    return sorted((p for p in points if p.startswith(f"{folder}/")), key=len, reverse=True)


def _unmount(paths: ClusterPaths) -> None:
    for point in _mounts(paths):
        # Another mount may have gone with one before it.
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)


def _remove_traces(paths: ClusterPaths, plan: Plan) -> None:
    """Files outside the folder, at places that are fixed in containerd, libcni and kubelet."""
    for address in (paths.run / "containerd").glob("io.containerd.runtime.v2.task/*/*/address"):
        with contextlib.suppress(OSError):
            Path(address.read_text().removeprefix("unix://")).unlink()
    results = Path("/var/lib/cni/results")
    pattern = re.compile(rf"{re.escape(plan.namespace)}-([0-9a-f]{{64}})-eth0")
    for file in results.glob(f"{plan.namespace}-*"):
        if sandbox := pattern.fullmatch(file.name):
            (results / f"cni-loopback-{sandbox[1]}-lo").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{paths.root}/"):
            link.unlink()
    for folder in (paths.run / "containerd", paths.run / "cni", paths.run / "runc"):
        shutil.rmtree(folder, ignore_errors=True)
    _remove_if_dead(Path("/var/lib/kubelet/device-plugins/kubelet.sock"))
    for name in SHARED_FOLDERS:
        with contextlib.suppress(OSError):
            Path(name).rmdir()  # only when empty: another cluster's, or the machine's own, stays


def _remove_if_dead(path: Path) -> None:
    """Remove a Unix socket on which nobody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
