"""What `make test` runs: every layer of tests with the cluster it needs, and nothing left behind.

The cheap layers come first, so that a broken function does not cost a cluster. A cluster is started
only for its layer and taken down after it, whatever happened. Pytest's closing lines are held back
and printed last.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / ".logs" / "cases.jsonl"  # what a full run ran, all of it passed: `make reliability`
UNFINISHED = CASES.with_suffix(".unfinished")  # the same while it runs, and of one that failed
# Two clones on one machine must not take down each other's clusters.
CLONE = f"{zlib.crc32(str(ROOT).encode()):08x}"

SMALL_SCOPE = "tests/model/test_small_scope.py"
"""Apart, because it takes minutes: unit and model tests are for after every change."""


@dataclass(frozen=True)
class Layer:
    """One pytest run: `nodes` is the flavour of the cluster it needs, None for none."""

    name: str
    paths: tuple[str, ...]
    options: tuple[str, ...] = ()
    nodes: str | None = None

    @property
    def cluster(self) -> str:
        return f"test-{self.nodes}-{CLONE}"


LAYERS = (
    Layer("unit", ("tests/unit", "tests/model"), options=("-n", "auto", f"--ignore={SMALL_SCOPE}")),
    Layer("trainer", ("tests/trainer",), options=("-n", "auto")),
    Layer("exhaustive", (SMALL_SCOPE,), options=("-n", "auto")),
    Layer("integration", ("tests/integration",), nodes="kwok"),
    Layer("e2e", ("tests/e2e",), nodes="real"),
)


def say(message: str) -> None:
    print(f"test: {message}", flush=True)


def dev_cluster(command: str, layer: Layer, *options: str) -> None:
    """Run the cluster tool; its steps are shown as they happen."""
    tool = [sys.executable, str(ROOT / "dev" / "cluster"), command, "--name", layer.cluster]
    subprocess.run([*tool, *options], check=True, cwd=ROOT)


@contextlib.contextmanager
def cluster(layer: Layer) -> Iterator[None]:
    """The layer's cluster, for as long as the layer runs."""
    if layer.nodes is None:
        yield
        return
    try:
        dev_cluster("up", layer, f"--nodes={layer.nodes}")
        yield
    finally:
        dev_cluster("down", layer)


def pytest(layer: Layer, *, full: bool) -> tuple[int, str]:
    """Run one layer; its exit code and its closing line, which is not printed here."""
    color = "--color=yes" if sys.stdout.isatty() else "--color=no"
    command = [sys.executable, "-m", "pytest", *layer.paths, *layer.options, color, "--durations=5"]
    environment = {
        **os.environ,
        "TUNE_TESTS_NO_SKIP": "1",
        "PYTHONUNBUFFERED": "1",
        **({"TUNE_CASES": str(UNFINISHED)} if full else {}),
    }
    if layer.nodes is not None:
        environment["TUNE_TEST_CLUSTER"] = layer.cluster
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        held = ""
        try:
            for line in process.stdout or ():
                sys.stdout.write(held)
                sys.stdout.flush()
                held = line
        except KeyboardInterrupt:
            # Sent to us alone it would leave pytest running; its fixtures have things to take back.
            process.send_signal(signal.SIGINT)
            raise
    return process.returncode, held.rstrip("\n")


def run(layers: tuple[Layer, ...]) -> int:
    """Run the layers in order, up to the first that fails; the exit code of `make test`."""
    full = layers == LAYERS
    if full:
        CASES.parent.mkdir(exist_ok=True)
        CASES.unlink(missing_ok=True)
        UNFINISHED.unlink(missing_ok=True)
    closing: list[str] = []
    durations: list[str] = []
    status = 0
    for layer in layers:
        start = time.monotonic()
        with cluster(layer):
            set_up = time.monotonic() - start
            status, line = pytest(layer, full=full)
        closing.append(line)
        total = time.monotonic() - start
        durations.append(f"{layer.name} {total:.0f} s (of which {set_up:.0f} s to a cluster)")
        if status:
            break
    if full and not status:
        UNFINISHED.rename(CASES)
    say("; ".join(durations))
    print("\n".join(closing), flush=True)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.test", description=__doc__)
    parser.add_argument("layer", nargs="?", choices=[layer.name for layer in LAYERS])
    chosen = parser.parse_args().layer
    # A terminated run takes its cluster down like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(tuple(layer for layer in LAYERS if chosen in (None, layer.name)))
    except subprocess.CalledProcessError as error:
        say(f"the cluster tool failed, its output is above: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
