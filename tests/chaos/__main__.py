"""`make chaos`: 200 trials while everything around them breaks, and an oracle that keeps count.

Why here and not below dev: it is a test, played with the same trainers and clusters as those of
tests/integration; only that one run of minutes is one case.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.report import say
from tests.chaos.run import Budget, Run, conclude

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "dev" / "cluster"
CRD = ROOT / "crds" / "tuneoperator.io_tuneexperiments.yaml"
# Two clones on one machine must not take down each other's clusters.
CLUSTER = f"chaos-{zlib.crc32(str(ROOT).encode()):08x}"
NODES = 10
SECONDS = 200
FAULTS_PER_SECOND = 0.55


def tool(command: str, cluster: str, *options: str) -> None:
    """Run the cluster tool; its steps are shown."""
    call = [sys.executable, str(TOOL), command, "--name", cluster, *options]
    subprocess.run(call, check=True, cwd=ROOT)


def describe(cluster: str) -> dict[str, Any]:
    """cluster.json."""
    call = [sys.executable, str(TOOL), "describe", "--name", cluster]
    done = subprocess.run(call, check=True, capture_output=True, text=True, cwd=ROOT)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@contextmanager
def running(name: str) -> Iterator[dict[str, Any]]:
    """The named cluster, or one of its own for the time of the block."""
    cluster = name or CLUSTER
    try:
        tool("up", cluster, "--nodes=kwok", f"--count={NODES}")
        facts = describe(cluster)
        install(facts)
        yield facts
    finally:
        if not name:
            tool("down", cluster)


def install(facts: Mapping[str, Any]) -> None:
    """Our CRD; the run waits until it is served."""
    kubectl = [f"{facts['bin']}/kubectl", f"--kubeconfig={facts['kubeconfig']}"]
    command = ["apply", "--server-side", "--force-conflicts", "-f", str(CRD)]
    subprocess.run([*kubectl, *command], check=True, capture_output=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of faults")
    parser.add_argument("--faults", type=int, help="aimed at single trials")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--cluster", default="", help="one that is up and stays up")
    return parser.parse_args()


def main() -> int:
    options = parse()
    faults = options.faults
    if faults is None:
        faults = round(FAULTS_PER_SECOND * options.seconds)
    budget = Budget(options.seed, options.seconds, faults, options.trials)
    logs = ROOT / ".logs" / f"chaos-{time.strftime('%Y%m%d-%H%M%S')}"
    logs.mkdir(parents=True)
    logging.basicConfig(filename=logs / "chaos.log", format="%(asctime)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say(f"seed {budget.seed}: {budget.trials} trials of {budget.iterations} iterations; {logs}")
    try:
        with running(options.cluster) as facts:
            verdict = asyncio.run(Run(budget, facts, logs).play())
            if not verdict.good:
                shutil.copy(facts["audit"], logs)
    except KeyboardInterrupt:
        say(f"interrupted; seed {budget.seed}")
        return 130
    return conclude(verdict, budget, logs)


if __name__ == "__main__":
    sys.exit(main())
