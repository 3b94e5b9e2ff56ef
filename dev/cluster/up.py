"""`up`: brings a cluster to the state "complete", from whatever state it is in.

Every step looks first and does only what is missing, so a run after Ctrl-C or kill -9 goes on
where the last one ended, and a run on a complete cluster verifies it.
"""

from pathlib import Path

from . import binaries, controlplane, description, kwok, pki, plan
from .console import Console
from .errors import ClusterError
from .kubectl import Kubectl
from .locks import locked
from .paths import ClusterPaths
from .processes import Component, Processes

START_SECONDS = 60.0


def up(cache: Path, paths: ClusterPaths, flavour: str, count: int, console: Console) -> None:
    """Start or complete the cluster.

    Raises:
        ClusterError: a step failed. A cluster that was never complete is stopped then; its logs
            are kept.
    """
    with locked(paths.lock, lambda: console.say(f"another run works on {paths.name}; waiting")):
        complete = paths.description.exists()
        try:
            _up(cache, paths, flavour, count, console)
        except BaseException:
            if not complete:
                stop(paths, console)
            raise


def _up(cache: Path, paths: ClusterPaths, flavour: str, count: int, console: Console) -> None:
    processes = Processes(paths.run, paths.logs)
    running = [name for name in processes.names() if processes.running(name)]
    chosen = plan.ensure(paths, flavour, running)
    programs = binaries.ensure(cache, binaries.GROUPS[flavour], console)
    paths.make()
    binaries.link(programs, paths.bin)
    with console.step("certificates and kubeconfigs"):
        pki.ensure(paths, chosen)
    start(processes, controlplane.components(paths, chosen), "control plane and MinIO", console)
    kubectl = Kubectl(paths)
    _wait_for_account(kubectl, console)
    fake_kubelet = kwok.component(paths, chosen)
    if not processes.current(fake_kubelet):
        processes.stop(fake_kubelet.name)
        kwok.release_nodes(kubectl)
    start(processes, [fake_kubelet], "kwok", console)
    with console.step(f"{count} fake nodes"):
        kwok.ensure_nodes(kubectl, count)
    description.write(paths, chosen)


def start(processes: Processes, components: list[Component], title: str, console: Console) -> None:
    """Start components one after the other; each is ready before the next one starts.

    A controller manager that meets an API server before its RBAC bootstrap ends for good.
    """
    with console.step(title) as step:
        for component in components:
            step.progress = component.name
            processes.ensure(component)
            processes.wait(component, START_SECONDS)
        step.progress = ""


def _wait_for_account(kubectl: Kubectl, console: Console) -> None:
    """Pods cannot be created before their namespace's service account."""
    with console.step("service account"):
        name = ["get", "serviceaccount", "default", "-n", "default", "-o", "name"]
        kubectl.wait("service account default", "serviceaccount/default", *name)


def stop(paths: ClusterPaths, console: Console) -> None:
    """Stop all servers of the cluster, the newest kind first."""
    processes = Processes(paths.run, paths.logs)
    names = processes.names()
    if not names:
        return
    with console.step(f"stop {paths.name}"):
        paths.description.unlink(missing_ok=True)
        order = ["etcd", "kube-apiserver"]
        for name in sorted(names, key=lambda name: order.index(name) if name in order else 9)[::-1]:
            processes.stop(name)


__all__ = ["ClusterError", "stop", "up"]
