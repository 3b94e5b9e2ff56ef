"""A classifier of handwritten digits, trained one pass over the data at a time.

Everything the next iteration depends on is saved, and the order of the data follows from the
iteration alone, so a trial that was interrupted and resumed reports the very same metrics as one
that was left alone.

Configuration: ``lr`` (learning rate), ``act`` (relu or tanh); optional ``seed`` and
``step_seconds``, which makes each iteration last longer so that there is time to watch.
"""

import os

# One thread: faster for arrays this small, and sums come out the same on every machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from tune_trainer import Trainable


class Digits(Trainable):
    """A network with one hidden layer on the 1,797 images of ``sklearn.datasets.load_digits``."""

    def setup(self, config: dict[str, Any]) -> None:
        self.seed = int(config.get("seed", 0))
        self.step_seconds = float(config.get("step_seconds", 0))
        images, labels = load_digits(return_X_y=True)
        self.train_x, self.test_x, self.train_y, self.test_y = train_test_split(
            images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels
        )
        self.model = MLPClassifier(
            hidden_layer_sizes=(64,),
            activation=config["act"],
            learning_rate_init=float(config["lr"]),
            batch_size=64,
            shuffle=False,  # step() shuffles
            random_state=self.seed,
        )

    def step(self) -> dict[str, float]:
        time.sleep(self.step_seconds)
        order = np.random.default_rng([self.seed, self.iteration]).permutation(len(self.train_y))
        self.model.partial_fit(self.train_x[order], self.train_y[order], classes=range(10))
        return {
            "mean_accuracy": float(self.model.score(self.test_x, self.test_y)),
            "loss": float(self.model.loss_),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        # Weights and the optimiser's moments; step() needs nothing else but the iteration.
        return {"model": self.model}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.model = checkpoint["model"]
