"""Builds the cluster's programs from the Go tool modules, each once per version.

A cache entry is named by a hash of what goes in: module files, packages, flags, platform. Not
by the version of Go, whose update on a machine is no reason to build for ten minutes.
"""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from . import golang
from .commands import Commands
from .console import Console, Step
from .locks import locked
from .paths import HERE

KUBERNETES_VERSION = "v1.35.4"
MODULES = HERE / "go"


def _kubernetes_flags(version: str) -> str:
    """Without these the servers report v0.0.0, and clients and kubelet misbehave."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in values.items())


@dataclass(frozen=True)
class Group:
    """Programs built together: program name to package, out of one module."""

    name: str
    module: str
    programs: dict[str, str]
    linker: str = ""

    @property
    def folder(self) -> Path:
        return MODULES / self.module

    def flags(self) -> list[str]:
        linker = f"-s -w {self.linker}".strip()
        return ["-trimpath", "-mod=readonly", "-buildvcs=false", f"-ldflags={linker}"]

    def key(self) -> str:
        """The cache key of this group's programs."""
        state = sha256()
        for file in ("go.mod", "go.sum", *sorted(f.name for f in self.folder.glob("*.go"))):
            state.update((self.folder / file).read_bytes())
        parts = [*self.flags(), *sorted(self.programs.items()), platform.machine()]
        state.update(repr(parts).encode())
        return state.hexdigest()[:16]


def _kubernetes(name: str, *programs: str) -> Group:
    packages = {program: f"k8s.io/kubernetes/cmd/{program}" for program in programs}
    return Group(name, "kubernetes", packages, _kubernetes_flags(KUBERNETES_VERSION))


CONTROL_PLANE = _kubernetes(
    "control-plane",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
)
NODE = _kubernetes("node", "kubelet", "kube-proxy")
ETCD = Group("etcd", "etcd", {"etcd": "go.etcd.io/etcd/server/v3"})
KWOK = Group("kwok", "kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"})
MINIO = Group("minio", "minio", {"minio": "github.com/minio/minio"})
HELM = Group("helm", "helm", {"helm": "helm.sh/helm/v3/cmd/helm"})
COREDNS = Group("coredns", "coredns", {"coredns": "."})  # a main package of our own

# In the order of need: MinIO's program goes into an image, which is made while the rest builds.
GROUPS: dict[str, tuple[Group, ...]] = {
    "kwok": (ETCD, CONTROL_PLANE, KWOK, MINIO),
    "real": (MINIO, ETCD, CONTROL_PLANE, NODE, KWOK, COREDNS, HELM),
}


class Binaries:
    """The programs in the cache folder `bin`."""

    def __init__(self, cache: Path, commands: Commands, console: Console) -> None:
        self._cache = cache
        self._commands = commands
        self._console = console

    def ensure(self, groups: Sequence[Group]) -> dict[str, Path]:
        """Build what is not in the cache; returns program name to path.

        Raises:
            ClusterError: a build failed; names its log.
            Missing: there is no Go and it cannot be installed.
        """
        programs: dict[str, Path] = {}
        for group in groups:
            folder = self._cache / "bin" / f"{group.name}-{group.key()}"
            if not folder.exists():
                with locked(folder.with_suffix(".lock")):
                    if not folder.exists():
                        self._build(group, folder)
            programs.update({program: folder / program for program in group.programs})
        return programs

    def _build(self, group: Group, folder: Path) -> None:
        go = golang.find_go(self._cache, self._console)
        log = self._cache / "logs" / f"build-{group.name}.log"
        log.unlink(missing_ok=True)
        partial = folder.with_suffix(".new")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        packages = sorted(group.programs.values())
        environment = golang.environment()
        with self._console.step(f"build {' '.join(group.programs)}") as step:
            step.progress = "downloading modules"
            listing = [go, "list", "-mod=readonly", "-deps", *packages]
            answer = self._commands.run(listing, log, environment=environment, folder=group.folder)
            progress = Progress(step, total=len(answer.split()))
            # All in one: one program is linked while another is compiled. Several programs can
            # only be named by their packages; a single one gets its name here.
            target = partial if len(packages) > 1 else partial / next(iter(group.programs))
            command = [go, "build", "-v", *group.flags(), "-o", str(target), *packages]
            self._commands.watch(
                command, log, progress.line, environment=environment, folder=group.folder
            )
            step.progress = ""
        # Atomic: an entry that exists is complete, whenever this process is killed.
        partial.replace(folder)


class Progress:
    """Counts the packages that `go build -v` names as it compiles them."""

    def __init__(self, step: Step, total: int) -> None:
        self._step = step
        self._total = total
        self._compiled = 0

    def line(self, _line: str) -> None:
        """One more package; those in Go's own cache are not named."""
        self._compiled += 1
        self._step.progress = f"{self._compiled} of at most {self._total} packages"


def link(programs: dict[str, Path], folder: Path) -> None:
    """Make `folder` hold a link to every program, under its plain name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in programs.items():
        partial = folder / f".{name}.new"
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.rename(folder / name)
