"""What real nodes need of the machine: Linux, root, Debian's packages."""

import os
import platform
import shutil
from pathlib import Path

from .commands import Commands
from .console import Console
from .errors import ClusterError, Missing
from .locks import locked

# Program to the package that brings it.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "conntrack": "conntrack",
    "socat": "socat",
    "ethtool": "ethtool",
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
    "/bin/busybox": "busybox-static",
}
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require_linux() -> None:
    """Raises Missing where the servers cannot run at all."""
    if platform.system() != "Linux":
        raise Missing("dev/cluster runs Linux programs: use a Linux machine (or a VM)")


def missing_packages() -> list[str]:
    """The packages whose programs are not on this machine."""
    return [
        package
        for program, package in PACKAGES.items()
        if not shutil.which(program, path=SYSTEM_FOLDERS)
    ]


def require_node_support(cache: Path, commands: Commands, console: Console) -> None:
    """Make sure that real nodes can run here; installs packages where that is possible.

    Raises:
        Missing: something is missing that only the user can provide.
    """
    packages = missing_packages()
    install = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        also = f", after an administrator ran: {install}" if packages else ""
        raise Missing(
            f"real nodes need root: run this as root{also}; or use --nodes kwok, which does not"
        )
    if not packages:
        return
    if not (shutil.which("apt-get") and Path("/etc/debian_version").exists()):
        raise Missing(
            f"not a Debian system, so install these first: {' '.join(packages)}; "
            "or use --nodes kwok, which needs none of them"
        )
    with locked(cache / "apt.lock"), console.step(f"apt packages: {' '.join(packages)}"):
        _install(packages, cache / "logs" / "apt.log", commands)


def _install(packages: list[str], log: Path, commands: Commands) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]  # a fresh machine updates itself
    install = ["install", "-y", "--no-install-recommends", *packages]
    try:
        commands.run([*apt, "update"], log, environment=environment)
        commands.run([*apt, *install], log, environment=environment)
    except ClusterError as error:
        raise Missing(
            f"apt could not install {' '.join(packages)}; repair apt and run this again", log=log
        ) from error
    if left := missing_packages():
        raise Missing(f"still missing after apt-get install: {' '.join(left)}", log=log)
