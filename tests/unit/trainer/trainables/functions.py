"""Functions that the process tests run; what they do is set by their configuration."""

import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import tune_trainer
from tune_trainer import Checkpoint


def count(config: dict[str, Any]) -> None:
    """Counts as ``counting.Count`` does, up to ``last``, and saves when it is asked to.

    ``every``: it also saves at its own multiples of this.
    """
    state = restored() or {"iteration": 0, "value": config["start"]}
    for iteration in range(state["iteration"] + 1, config.get("last", 10**6) + 1):
        pass_gate(config, iteration)
        state = {"iteration": iteration, "value": state["value"] * 3 + 1}
        due = config.get("every", 0) and iteration % config["every"] == 0
        if due or tune_trainer.get_context().should_checkpoint():
            report_saved(state)
        else:
            tune_trainer.report({"value": state["value"]})


def late(config: dict[str, Any]) -> None:
    """Asks whether to save before its work, not after it."""
    for iteration in range(1, 10**6):
        wanted = tune_trainer.get_context().should_checkpoint()
        pass_gate(config, iteration)
        if wanted:
            report_saved({"iteration": iteration, "value": iteration})
        else:
            tune_trainer.report({"value": iteration})


def unsaved(config: dict[str, Any]) -> None:
    """Never asks and never saves."""
    for iteration in range(1, 10**6):
        pass_gate(config, iteration)
        tune_trainer.report({"value": iteration})


def deaf(config: dict[str, Any]) -> None:
    """Lets nothing end it."""
    while True:
        try:
            tune_trainer.report({"value": 1})
        except BaseException:  # noqa: BLE001 - what user code does
            time.sleep(0.01)


def forks(config: dict[str, Any]) -> None:
    """Ends a worker by SIGTERM; another one finds that it cannot report."""
    worker = os.fork()
    if worker == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(worker, signal.SIGTERM)
    _, status = os.waitpid(worker, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    worker = os.fork()
    if worker == 0:
        try:
            tune_trainer.report({"value": 0})
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    _, status = os.waitpid(worker, 0)
    tune_trainer.report({"value": os.waitstatus_to_exitcode(status)})


def restored() -> dict[str, Any] | None:
    """The state of the checkpoint to go on from."""
    checkpoint = tune_trainer.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as directory:
        found: dict[str, Any] = json.loads(Path(directory, "state.json").read_text())
        return found


def report_saved(state: dict[str, Any]) -> None:
    """Report with a checkpoint, in a directory that is gone right afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "state.json").write_text(json.dumps(state))
        checkpoint = Checkpoint.from_directory(directory)
        tune_trainer.report({"value": state["value"]}, checkpoint=checkpoint)


def pass_gate(config: dict[str, Any], iteration: int) -> None:
    """Tell that the iteration has begun, and wait until it may end."""
    if "gate" not in config:
        return
    folder = Path(config["gate"])
    (folder / f"begun-{iteration}").touch()
    while not (folder / f"open-{iteration}").exists() and not (folder / "open").exists():
        time.sleep(0.005)


def begins_with_another(config: dict[str, Any]) -> None:
    """Reads a checkpoint that its configuration names."""
    with Checkpoint.from_uri(config["from"]).as_directory() as directory:
        state = json.loads(Path(directory, "state.json").read_text())
    tune_trainer.report({"value": state["value"] * 10})
