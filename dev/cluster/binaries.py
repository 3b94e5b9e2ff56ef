"""Builds the cluster's programs from the Go tool modules, each once per version.

A cache entry is named by a hash of what goes in: go.mod, go.sum, packages, flags, platform. Not
by the version of Go, whose update on a machine is no reason to build for ten minutes.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from . import golang
from .console import Console, Step
from .errors import ClusterError
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
        for file in ("go.mod", "go.sum"):
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
COREDNS = Group("coredns", "coredns", {"coredns": "github.com/coredns/coredns"})

# In the order of need: MinIO's program goes into an image, which is made while the rest builds.
GROUPS: dict[str, tuple[Group, ...]] = {
    "kwok": (ETCD, CONTROL_PLANE, KWOK, MINIO),
    "real": (MINIO, ETCD, CONTROL_PLANE, NODE, COREDNS, HELM),
}


def entry(cache: Path, group: Group) -> Path:
    """The folder of a group's programs in the cache."""
    return cache / "bin" / f"{group.name}-{group.key()}"


def ensure(cache: Path, groups: Sequence[Group], console: Console) -> dict[str, Path]:
    """Build what is not in the cache; returns program name to path.

    Raises:
        ClusterError: a build failed; names its log.
        Missing: there is no Go and it cannot be installed.
    """
    programs: dict[str, Path] = {}
    for group in groups:
        folder = entry(cache, group)
        if not folder.exists():
            with locked(
                folder.with_suffix(".lock"),
                lambda name=group.name: console.say(f"      another run builds {name}; waiting"),  # type: ignore[misc]
            ):
                if not folder.exists():
                    _build(cache, group, folder, console)
        programs.update({program: folder / program for program in group.programs})
    return programs


def _build(cache: Path, group: Group, folder: Path, console: Console) -> None:
    go = golang.find_go(cache, console)
    log = cache / "logs" / f"build-{group.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    partial = folder.with_suffix(".new")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with console.step(f"build {' '.join(group.programs)}") as step:
        step.progress = "downloading modules"
        packages = sorted(group.programs.values())
        total = len(golang.run(go, ["list", "-mod=readonly", "-deps", *packages], group.folder, log).split())
        for program, package in group.programs.items():
            command = [go, "build", "-v", *group.flags(), "-o", str(partial / program), package]
            _compile(command, group, total, step, log)
        step.progress = ""
    # Atomic: an entry that exists is complete, whenever this process is killed.
    os.rename(partial, folder)  # noqa: PTH104 - Path.rename says the same less plainly


def _compile(command: list[str], group: Group, total: int, step: Step, log: Path) -> None:
    """Run one `go build -v`, which names each package it has compiled."""
    process = subprocess.Popen(
        command,
        cwd=group.folder,
        env=golang.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    compiled = 0
    try:
        with log.open("a") as output:
            for line in process.stderr:
                output.write(line)
                compiled += 1
                step.progress = f"{compiled} of at most {total} packages compiled"
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code != 0:
        raise ClusterError(f"go build of {group.name} failed", log=log)


def link(programs: dict[str, Path], folder: Path) -> None:
    """Make `folder` hold a link to every program, under its plain name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in programs.items():
        partial = folder / f".{name}.new"
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.rename(folder / name)
