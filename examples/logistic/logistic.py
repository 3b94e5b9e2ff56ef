"""A classifier with the method names of older Ray releases, and state in files of one prefix.

``_save`` returns a prefix that is no file, as savers of several files do: ``_restore`` gets the
same prefix in another directory. The standard library alone, so the trainer image runs it as it is.

Configuration: ``lr`` (learning rate), ``momentum``; optional ``step_seconds``, which makes each
iteration last longer so that there is time to watch.
"""

import json
import math
import os
import random
import time

from tune_trainer import Trainable
from tune_trainer.result import SHOULD_CHECKPOINT

Point = tuple[list[float], int]


def points(count: int, seed: int) -> list[Point]:
    """Points of the plane; those inside the unit circle are class 1."""
    source = random.Random(seed)
    found = []
    for _ in range(count):
        x, y = source.uniform(-1.5, 1.5), source.uniform(-1.5, 1.5)
        found.append(([1.0, x, y, x * x, x * y, y * y], int(x * x + y * y < 1)))
    return found


class Logistic(Trainable):
    """Logistic regression on quadratic features, by stochastic descent with momentum."""

    def _setup(self, config):
        self.lr, self.momentum = float(config["lr"]), float(config["momentum"])
        self.step_seconds = float(config.get("step_seconds", 0))
        self.train_points, self.test_points = points(300, seed=1), points(200, seed=2)
        self.weights = [0.0] * 6
        self.velocity = [0.0] * 6
        self.saved_accuracy = 0.0

    def _train(self):
        time.sleep(self.step_seconds)
        # The order follows from the iteration alone: a resumed trial sees what an undisturbed saw.
        order = random.Random(self.iteration).sample(self.train_points, len(self.train_points))
        for features, label in order:
            error = self.predict(features) - label
            for i, feature in enumerate(features):
                self.velocity[i] = self.momentum * self.velocity[i] - self.lr * error * feature
                self.weights[i] += self.velocity[i]
        hits = sum((self.predict(f) > 0.5) == bool(label) for f, label in self.test_points)
        accuracy = hits / len(self.test_points)
        result = {"mean_accuracy": accuracy}
        if accuracy >= self.saved_accuracy + 0.05:  # worth a checkpoint, whatever the frequency
            self.saved_accuracy = accuracy
            result[SHOULD_CHECKPOINT] = True
        return result

    def predict(self, features):
        total = sum(w * f for w, f in zip(self.weights, features, strict=True))
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))

    def _save(self, checkpoint_dir):
        prefix = os.path.join(checkpoint_dir, "model")  # noqa: PTH118 - text, as it used to be
        dump(prefix + ".weights.json", self.weights)
        dump(prefix + ".optimizer.json", [self.velocity, self.saved_accuracy])
        return prefix

    def _restore(self, checkpoint_prefix):
        self.weights = load(checkpoint_prefix + ".weights.json")
        self.velocity, self.saved_accuracy = load(checkpoint_prefix + ".optimizer.json")

    def _stop(self):
        print("weights:", [round(weight, 2) for weight in self.weights])


def dump(path, value):
    with open(path, "w") as file:  # noqa: PTH123
        json.dump(value, file)


def load(path):
    with open(path) as file:  # noqa: PTH123
        return json.load(file)
