"""The command line."""

import argparse
import json
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from . import controlplane, description, machine, teardown
from .binaries import GROUPS, Binaries
from .commands import Commands
from .console import Console
from .errors import ClusterError, Missing
from .locks import locked
from .paths import ClusterPaths, cache_root
from .plan import FLAVOURS, Plan
from .processes import Processes
from .up import Job, Options, load_images, start_node, stop_node, up

ABOUT = "A local Kubernetes cluster without a registry, a VM or Docker."
EPILOG = "Caches and clusters live in $TUNE_CACHE_DIR, by default ~/.cache/tune-operator."


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(prog="python3 dev/cluster", description=ABOUT, epilog=EPILOG)
    commands = root.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, *, named: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if named:
            sub.add_argument("--name", default="dev", help="the cluster's name (default: dev)")
        return sub

    start = command("up", "start a cluster, or complete and verify a running one")
    start.add_argument("--nodes", choices=FLAVOURS, default="real", help="kind of nodes")
    start.add_argument("--count", type=int, default=3, help="number of kwok nodes (default: 3)")
    start.add_argument(
        "--pod-gc-threshold",
        type=int,
        default=controlplane.POD_GC_THRESHOLD,
        help="terminated Pods above which the oldest are deleted (default: %(default)s)",
    )
    for name, text in (
        ("stop-node", "make a node unreachable: its kubelet is silent, its containers run on"),
        ("start-node", "bring it back"),
    ):
        sub = command(name, text)
        sub.add_argument("--node", default="kwok-node-0", help="which of the kwok nodes")
    command("down", "remove a cluster and everything it made")
    command("status", "list all clusters and their servers", named=False)
    build = command("build", "build the programs only", named=False)
    build.add_argument("--nodes", choices=FLAVOURS, default="real", help="kind of nodes")
    command("images", "build and import the images whose files changed")
    command("env", 'print lines for a shell: eval "$(python3 dev/cluster env)"')
    command("kubeconfig", "print the path of the kubeconfig")
    command("describe", "print cluster.json")
    command("logs", "print the paths of the servers' logs")
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 1 failed, 2 the machine lacks something."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    try:
        _run(options, console)
    except ClusterError as error:
        console.say(f"error: {error}")
        if error.log:
            console.say(f"  log: {error.log}")
        return error.exit_code
    except KeyboardInterrupt:
        console.say("interrupted; the same command goes on from here")
        return 130
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM cleans up like Ctrl-C."""
    raise KeyboardInterrupt


def _run(options: argparse.Namespace, console: Console) -> None:
    cache = cache_root()
    match options.command:
        case "status":
            _status(cache)
            return
        case "build":
            machine.require_linux()
            Binaries(cache, Commands(), console).ensure(GROUPS[options.nodes])
            return
    paths = ClusterPaths.of(options.name, cache)
    job = Job(cache, paths, Commands(), console)
    match options.command:
        case "up":
            up(job, options.nodes, Options(options.count, options.pod_gc_threshold))
            console.say(f"cluster {paths.name} is up: export KUBECONFIG={paths.kubeconfig}")
        case "down":
            with locked(paths.lock, lambda: console.say("another run works on it; waiting")):
                teardown.stop(paths, console)
                teardown.remove(paths)
                paths.lock.unlink()
        case "stop-node":
            stop_node(job, _plan(paths), options.node)
        case "start-node":
            start_node(job, _plan(paths), options.node)
        case "images":
            if not _plan(paths).real:
                raise Missing(f"cluster {paths.name} has fake nodes, which run no images")
            load_images(job)
        case question:
            _tell(question, paths, _plan(paths))


def _tell(question: str, paths: ClusterPaths, plan: Plan) -> None:
    """What a shell or a test wants to know about a cluster that is up."""
    match question:
        case "env":
            print(description.environment(description.describe(paths, plan)), end="")
        case "kubeconfig":
            print(paths.kubeconfig)
        case "describe":
            print(json.dumps(asdict(description.describe(paths, plan)), indent=2))
        case "logs":
            print(*sorted(paths.logs.glob("*.log")), sep="\n")


def _plan(paths: ClusterPaths) -> Plan:
    """The plan of a cluster that is up."""
    plan = Plan.read(paths)
    if plan is None or not paths.description.exists():
        raise Missing(f"no cluster {paths.name}; run: python3 dev/cluster up --name {paths.name}")
    return plan


def _status(cache: Path) -> None:
    for file in sorted((cache / "clusters").glob("*/plan.json")):
        paths = ClusterPaths(file.parent)
        plan = Plan.read(paths)
        processes = Processes(paths.run, paths.logs)
        dead = [name for name in processes.names() if not processes.running(name)]
        state = "complete" if paths.description.exists() else "not complete"
        missing = f", not running: {' '.join(dead)}" if dead else ""
        print(f"{paths.name}: {plan.flavour if plan else '?'} nodes, {state}{missing}")
