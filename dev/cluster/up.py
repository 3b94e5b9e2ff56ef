"""`up`: brings a cluster to the state "complete", from whatever state it is in.

Every step looks first and does only what is missing, so a run after Ctrl-C or kill -9 goes on
where the last one ended, and a run on a complete cluster verifies it.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import (
    cgroups,
    controlplane,
    description,
    images,
    kwok,
    machine,
    network,
    node,
    nodeimages,
    pki,
    plan,
    teardown,
)
from .binaries import GROUPS, Binaries, link
from .commands import Cancelled, Commands
from .console import Console
from .imagebuild import ImageBuilder
from .kubectl import Kubectl
from .locks import locked
from .paths import ClusterPaths
from .plan import Plan
from .processes import Component, Processes

START_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """What one `up` asks for and no plan keeps: the next one may ask for something else."""

    count: int = 3
    pod_gc_threshold: int = controlplane.POD_GC_THRESHOLD


@dataclass(frozen=True)
class Job:
    """One invocation on one cluster."""

    cache: Path
    paths: ClusterPaths
    commands: Commands
    console: Console

    @property
    def binaries(self) -> Binaries:
        return Binaries(self.cache, self.commands, self.console)

    @property
    def processes(self) -> Processes:
        return Processes(self.paths.run, self.paths.logs)

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.paths)


def up(job: Job, flavour: str, options: Options) -> None:
    """Start or complete the cluster.

    Raises:
        ClusterError: a step failed. A cluster that was never complete is stopped then; its logs
            are kept.
    """
    paths, console = job.paths, job.console
    machine.require_linux()
    with locked(paths.lock, lambda: console.say(f"another run works on {paths.name}; waiting")):
        complete = paths.description.exists()
        try:
            if flavour == "real":
                _up_real(job, options)
            else:
                _up_kwok(job, options)
        except BaseException:
            job.commands.cancel()
            if not complete:
                teardown.stop(paths, console)
            raise


def load_images(job: Job) -> None:
    """Make and import the images of a running real cluster, as far as their files changed."""
    with locked(job.paths.lock):
        ready = threading.Event()
        ready.set()
        _load_images(job, ready)


def stop_node(job: Job, chosen: Plan, name: str) -> None:
    """Make a node unreachable: nobody speaks for it any more, what runs there runs on.

    Raises:
        ClusterError: there is no such node.
    """
    with locked(job.paths.lock):
        if chosen.real:
            job.processes.stop("kubelet")
        else:
            kwok.stop_node(job.kubectl, name)


def start_node(job: Job, chosen: Plan, name: str) -> None:
    """Bring a node back that `stop_node` made unreachable.

    Raises:
        ClusterError: there is no such node, or its kubelet does not start.
    """
    with locked(job.paths.lock):
        if chosen.real:
            _start(job, [node.kubelet(job.paths, chosen)], "kubelet")
        else:
            kwok.start_node(job.kubectl, name)


def _up_kwok(job: Job, options: Options) -> None:
    chosen = _prepare(job, "kwok", job.binaries.ensure(GROUPS["kwok"]))
    _start_control_plane(job, chosen, options)
    _start_fake_nodes(job, chosen, kwok.nodes(options.count))
    description.write(job.paths, chosen)


def _start_fake_nodes(job: Job, chosen: Plan, wanted: list[dict[str, Any]]) -> None:
    fake_kubelet = kwok.component(job.paths, chosen)
    if not job.processes.current(fake_kubelet):
        job.processes.stop(fake_kubelet.name)
        kwok.release_nodes(job.kubectl)
    _start(job, [fake_kubelet], "kwok")
    with job.console.step(f"fake nodes: {len(wanted)}"):
        kwok.ensure_nodes(job.kubectl, wanted)


def _up_real(job: Job, options: Options) -> None:
    machine.require_node_support(job.cache, job.commands, job.console)
    with ThreadPoolExecutor(1) as thread:
        # Making images is mostly waiting for disk and network: it fits beside the compiler.
        runtime_ready = threading.Event()
        loading = thread.submit(_load_images_when, job, runtime_ready)
        try:
            programs = job.binaries.ensure(GROUPS["real"])
            chosen = _prepare(job, "real", programs)
            with job.console.step("network and cgroup"):
                network.ensure(chosen)
                cgroups.ensure(chosen.namespace)
            node.write_config(job.paths, chosen)
            runtime = node.containerd(job.paths, chosen, lambda: nodeimages.answers(job.paths))
            _start(job, [runtime], "containerd")
            runtime_ready.set()
            _start_control_plane(job, chosen, options)
            _start_fake_nodes(job, chosen, [kwok.witness()])
            _start_node(job, chosen)
            with job.console.step("images in place"):
                loading.result()
        except BaseException as error:
            job.commands.cancel()  # or leaving the block would wait for the images
            runtime_ready.set()
            if isinstance(error, Cancelled):
                loading.result()  # the images failed first: theirs is the error to show
            raise
    description.write(job.paths, chosen)


def _load_images_when(job: Job, runtime_ready: threading.Event) -> None:
    """Make the images, and import them once containerd runs. A failure stops the other thread."""
    try:
        _load_images(job, runtime_ready)
    except BaseException:
        job.commands.cancel()
        raise


def _load_images(job: Job, runtime_ready: threading.Event) -> None:
    builder = ImageBuilder(job.cache, job.commands, job.console)
    wanted = images.buildable()
    references = builder.ensure(wanted)
    runtime_ready.wait()
    node_images = nodeimages.NodeImages(job.paths, job.commands, job.console)
    node_images.load(builder.layout, references, wanted)


def _prepare(job: Job, flavour: str, programs: dict[str, Path]) -> Plan:
    """Folders, addresses, programs, certificates."""
    running = [name for name in job.processes.names() if job.processes.running(name)]
    chosen = plan.ensure(job.paths, flavour, running)
    job.paths.make()
    link(programs, job.paths.bin)
    with job.console.step("certificates and kubeconfigs"):
        pki.ensure(job.paths, chosen)
    return chosen


def _start(job: Job, components: list[Component], title: str) -> None:
    """Start components one after the other; each is ready before the next one starts.

    A controller manager that meets an API server before its RBAC bootstrap ends for good.
    """
    processes = job.processes
    with job.console.step(title) as step:
        for component in components:
            step.progress = component.name
            processes.ensure(component)
            processes.wait(component, START_SECONDS)
        step.progress = ""


def _start_control_plane(job: Job, chosen: Plan, options: Options) -> None:
    components = controlplane.components(job.paths, chosen, options.pod_gc_threshold)
    _start(job, components, "control plane and MinIO")
    with job.console.step("service account"):
        # Pods cannot be created before their namespace's account.
        name = ["get", "serviceaccount", "default", "-n", "default", "-o", "name"]
        job.kubectl.wait("service account default", "serviceaccount/default", *name)


def _start_node(job: Job, chosen: Plan) -> None:
    job.kubectl.apply([*node.dns_service(chosen), node.kubelet_access()])
    parts = [node.kubelet, node.kube_proxy, node.coredns]
    components = [part(job.paths, chosen) for part in parts]
    _start(job, components, "kubelet, kube-proxy, CoreDNS")
    with job.console.step("node Ready"):
        node.wait_ready(job.kubectl, chosen)
