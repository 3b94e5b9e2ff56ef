"""Where the demo runs: a cluster of its own, or the one at hand; both take back what was made."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dev.cluster.paths import ClusterPaths
from dev.demo.errors import StepFailed
from dev.demo.screen import Screen
from dev.demo.shell import Shell

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_NAMESPACE = "tune-system"
NAMESPACE = "digits"
RELEASE = "tune-operator"
CRD = "tuneexperiments.tuneoperator.io"


@dataclass(frozen=True)
class Images:
    """Image references; `minio` None for the chart's own."""

    operator: str
    digits: str
    minio: str | None


class Target(Protocol):
    """A cluster to run the demo on. `ready` once kubectl reaches it."""

    ready: bool

    def prepare(self) -> Images:
        """Make the cluster and the images ready; StepFailed when that is not possible."""

    def tear_down(self) -> None:
        """Take back everything the demo made; called after a failure only."""

    def entry(self) -> list[str]:
        """Commands that make the reader's shell reach the cluster."""

    def removal(self) -> list[str]:
        """Commands that remove everything, after a success."""


class OwnCluster:
    """The real flavour of dev/cluster, under the name `demo`."""

    NAME = "demo"

    def __init__(self, shell: Shell, screen: Screen) -> None:
        self._shell = shell
        self._screen = screen
        self.ready = False

    def prepare(self) -> Images:
        self._screen.step("A Kubernetes cluster of its own on this machine, with the images")
        self._tool("up", "--nodes=real")
        cluster = json.loads(ClusterPaths.of(self.NAME).description.read_text())
        path = f"{cluster['bin']}{os.pathsep}{self._shell.environment.get('PATH', '')}"
        self._shell.environment.update(KUBECONFIG=cluster["kubeconfig"], PATH=path)
        self.ready = True
        return Images("dev.local/tune-operator:dev", "dev.local/digits:dev", "dev.local/minio:dev")

    def tear_down(self) -> None:
        self._screen.say("demo: taking the cluster down")
        self._tool("down")

    def entry(self) -> list[str]:
        return [f'eval "$(python3 dev/cluster env --name {self.NAME})"']

    def removal(self) -> list[str]:
        return [f"make cluster-down NAME={self.NAME}"]

    def _tool(self, command: str, *options: str) -> None:
        tool = (sys.executable, str(ROOT / "dev" / "cluster"), command, "--name", self.NAME)
        self._shell.show(*tool, *options)


class CurrentCluster:
    """The cluster of the current kubectl context, used only after a yes."""

    def __init__(self, shell: Shell, screen: Screen, *, yes: bool) -> None:
        self._shell = shell
        self._screen = screen
        self._yes = yes
        self.ready = False
        self._made: list[tuple[str, ...]] = []

    def prepare(self) -> Images:
        self._screen.step("The cluster at hand")
        missing = [tool for tool in ("kubectl", "helm") if shutil.which(tool) is None]
        if missing:
            raise StepFailed(f"CLUSTER=current needs {' and '.join(missing)} on the PATH")
        images = images_from(self._shell.environment)
        context = self._shell.run("kubectl", "config", "current-context").strip()
        self._refuse_what_exists()
        self._ask(context)
        self._remember_what_to_remove()
        self.ready = True
        return images

    def _refuse_what_exists(self) -> None:
        """Never mix with what others installed: removal would take it along."""
        for namespace in (SYSTEM_NAMESPACE, NAMESPACE):
            if self._exists("namespace", namespace):
                raise StepFailed(
                    f"namespace {namespace} exists already and the demo would not know what in it "
                    "is its own; remove it or use another cluster"
                )

    def _ask(self, context: str) -> None:
        question = (
            f"   Context {context}: make namespaces {SYSTEM_NAMESPACE} and {NAMESPACE} there and "
            "install the operator?"
        )
        self._screen.say(question)
        if self._yes:
            return
        if not sys.stdin.isatty():
            raise StepFailed(
                "nobody to ask: say yes beforehand with make demo CLUSTER=current YES=1"
            )
        if input("   [y/N] ").strip().lower() not in {"y", "yes"}:
            raise StepFailed("not without your yes; nothing was changed")

    def _remember_what_to_remove(self) -> None:
        kubectl = ("kubectl", "delete", "--ignore-not-found", "--timeout=180s")
        if not self._exists("crd", CRD):
            self._made.append((*kubectl, "crd", CRD))
        self._made.append((*kubectl, "namespace", SYSTEM_NAMESPACE))
        helm = ("helm", "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE)
        self._made.append((*helm, "--ignore-not-found", "--wait"))
        self._made.append((*kubectl, "namespace", NAMESPACE))

    def _exists(self, kind: str, name: str) -> bool:
        found = self._shell.run("kubectl", "get", kind, name, "--ignore-not-found", "--output=name")
        return bool(found.strip())

    def tear_down(self) -> None:
        """In reverse: the experiments first, while the operator can still end them."""
        if self._made:
            self._screen.say("demo: removing what was made")
        while self._made:
            command = self._made.pop()
            try:
                self._shell.run(*command)
            except StepFailed as error:
                self._screen.say(f"   could not be removed: {error}")

    def entry(self) -> list[str]:
        return []

    def removal(self) -> list[str]:
        return [" ".join(command) for command in reversed(self._made)]


def images_from(environment: Mapping[str, str]) -> Images:
    """The images of another cluster, named by the caller: nobody else can know them."""
    wanted = ("IMAGE_OPERATOR", "IMAGE_DIGITS")
    missing = [name for name in wanted if not environment.get(name)]
    if missing:
        raise StepFailed(
            f"CLUSTER=current needs {' and '.join(missing)}: images the cluster can pull, built "
            "from operator/Dockerfile and examples/digits/Dockerfile"
        )
    operator, digits = (environment[name] for name in wanted)
    return Images(operator, digits, environment.get("IMAGE_MINIO"))
