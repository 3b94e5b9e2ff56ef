"""Where this tool keeps things: all of it outside the work tree, below one folder."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import Missing

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

# A name becomes part of a network namespace, a cgroup and a CNI network; 20 characters fit all.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")

# The kernel's limit for the path of a Unix socket is 107 bytes; containerd adds to its own.
LONGEST_SOCKET = 95


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of caches and clusters: TUNE_CACHE_DIR, else the user's XDG cache folder."""
    if own := environment.get("TUNE_CACHE_DIR"):
        return Path(own).expanduser().resolve()
    xdg = environment.get("XDG_CACHE_HOME")
    base = Path(xdg) if xdg else Path.home() / ".cache"
    return base / "tune-operator"


@dataclass(frozen=True)
class ClusterPaths:
    """The files of one cluster."""

    root: Path

    @classmethod
    def of(cls, name: str, root: Path | None = None) -> "ClusterPaths":
        """Paths of cluster `name`.

        Raises:
            Missing: the name is not usable, or the folder's path is too long for a socket.
        """
        if not NAME.fullmatch(name):
            raise Missing(f"--name {name!r}: use at most 20 lower-case letters, digits and hyphens")
        paths = cls((root or cache_root()) / "clusters" / name)
        if len(str(paths.containerd_socket)) > LONGEST_SOCKET:
            raise Missing(f"{paths.root} is too long for a Unix socket; set TUNE_CACHE_DIR")
        return paths

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def lock(self) -> Path:
        """Beside the folder, because `down` removes the folder while it holds the lock."""
        return self.root.parent / f".{self.name}.lock"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def description(self) -> Path:
        """Written last and removed first: it exists when the cluster was complete once."""
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def images(self) -> Path:
        return self.root / "images.json"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit(self) -> Path:
        """The API server's audit log: one JSON object a line."""
        return self.logs / "audit.log"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    def make(self) -> None:
        """Create the folders; what they hold (keys, the store's data) is for the owner only."""
        for folder in (self.config, self.logs, self.run, self.data, self.bin):
            folder.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)
        self.data.chmod(0o711)


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a crash, sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    partial.write_text(text)
    partial.chmod(mode)
    partial.rename(path)
