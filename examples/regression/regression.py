"""A function that fits a polynomial, saves when it is asked to and goes on where it was.

The standard library alone, so the trainer image runs it as it is.

Configuration: ``lr`` (learning rate), ``degree``, ``epochs``; optional ``step_seconds``, which
makes each epoch last longer so that there is time to watch.
"""

import json
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import tune_trainer as tune

SAVE_EVERY = 10
"""Epochs between two checkpoints that nobody asked for."""


def train(config: dict[str, Any]) -> None:
    """One report per epoch; the trial has completed when this returns."""
    done, weights = 0, [0.0] * (int(config["degree"]) + 1)
    if checkpoint := tune.get_checkpoint():
        done, weights = load(checkpoint)
    started = time.monotonic()
    try:
        for epoch in range(done + 1, int(config["epochs"]) + 1):
            time.sleep(float(config.get("step_seconds", 0)))
            descend(weights, float(config["lr"]), epoch)
            report(epoch, weights)
    finally:  # also when the trial is stopped, which happens inside report()
        print(f"ended after {time.monotonic() - started:.1f} s with {weights}")


def report(epoch: int, weights: list[float]) -> None:
    metrics = {"loss": loss(weights), "largest": max(abs(weight) for weight in weights)}
    if epoch % SAVE_EVERY and not tune.get_context().should_checkpoint():
        tune.report(metrics)
        return
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "weights.json").write_text(json.dumps([epoch, weights]))
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(directory))


def load(checkpoint: tune.Checkpoint) -> tuple[int, list[float]]:
    with checkpoint.as_directory() as directory:
        epoch, weights = json.loads(Path(directory, "weights.json").read_text())
        return epoch, weights


def samples() -> list[tuple[float, float]]:
    """A noisy sine."""
    source = random.Random(3)
    xs = [i / 50 - 1 for i in range(101)]
    return [(x, math.sin(3 * x) + source.gauss(0, 0.05)) for x in xs]


SAMPLES = samples()


def predict(weights: list[float], x: float) -> float:
    return sum(weight * x**power for power, weight in enumerate(weights))


def loss(weights: list[float]) -> float:
    return sum((predict(weights, x) - y) ** 2 for x, y in SAMPLES) / len(SAMPLES)


def descend(weights: list[float], lr: float, epoch: int) -> None:
    """One pass over the samples, in an order that follows from the epoch alone."""
    for x, y in random.Random(epoch).sample(SAMPLES, len(SAMPLES)):
        error = predict(weights, x) - y
        for power in range(len(weights)):
            weights[power] -= lr * error * x**power
