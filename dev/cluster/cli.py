"""The command line."""

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from . import binaries
from .console import Console
from .errors import ClusterError, Missing
from .locks import locked
from .paths import ClusterPaths, cache_root
from .plan import FLAVOURS
from .up import stop, up


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(prog="python3 dev/cluster", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--name", default="dev", help="the cluster's name (default: dev)")
        return sub

    start = command("up", "start a cluster, or complete and verify a running one")
    start.add_argument("--nodes", choices=FLAVOURS, default="real", help="kind of nodes")
    start.add_argument("--count", type=int, default=3, help="number of kwok nodes (default: 3)")
    command("down", "remove a cluster and everything it made")
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 1 failed, 2 the machine lacks something."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    try:
        return _run(options, console)
    except ClusterError as error:
        console.say(f"error: {error}")
        if error.log:
            console.say(f"  log: {error.log}")
        return error.exit_code
    except KeyboardInterrupt:
        console.say("interrupted; the same command goes on from here")
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM cleans up like Ctrl-C."""
    raise KeyboardInterrupt


def _run(options: argparse.Namespace, console: Console) -> int:
    cache = cache_root()
    paths = ClusterPaths.of(options.name, cache)
    if options.command == "up":
        up(cache, paths, options.nodes, options.count, console)
    elif options.command == "down":
        with locked(paths.lock):
            stop(paths, console)
            shutil.rmtree(paths.root, ignore_errors=True)
    return 0


__all__ = ["Missing", "binaries", "main", "sys"]
