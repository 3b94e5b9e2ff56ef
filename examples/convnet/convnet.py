"""A convolutional network in PyTorch that goes on, bit for bit, where it was interrupted.

What a step depends on is in its checkpoint: the weights, the optimiser's moments, and the random
numbers that order the data and drop units. The schedule follows from the iteration alone.

Configuration: ``lr`` (learning rate), ``dropout``; optional ``seed`` and ``step_seconds``, which
makes each iteration last longer so that there is time to watch.
"""

import time
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from tune_trainer import Trainable

# One thread: faster for images this small, and sums come out the same on every machine.
torch.set_num_threads(1)
torch.use_deterministic_algorithms(mode=True)


class ConvNet(Trainable):
    """Two convolutions on the 1,797 images of 8 x 8 of ``sklearn.datasets.load_digits``."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.manual_seed(int(config.get("seed", 0)))
        self.step_seconds = float(config.get("step_seconds", 0))
        digits = load_digits()
        images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
        labels = torch.tensor(digits.target)
        self.train_x, self.test_x = images[:1347], images[1347:]
        self.train_y, self.test_y = labels[:1347], labels[1347:]
        self.model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(float(config["dropout"])),
            nn.Linear(16 * 4 * 4, 10),
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=float(config["lr"]))

    def step(self) -> dict[str, float]:
        time.sleep(self.step_seconds)
        self.model.train()
        for batch in torch.randperm(len(self.train_y)).split(64):
            self.optimizer.zero_grad()
            loss = cross_entropy(self.model(self.train_x[batch]), self.train_y[batch])
            loss.backward()
            self.optimizer.step()
        return self.evaluate()

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        self.model.eval()
        scores = self.model(self.test_x)
        hits = scores.argmax(dim=1) == self.test_y
        return {
            "mean_accuracy": hits.float().mean().item(),
            "loss": cross_entropy(scores, self.test_y).item(),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, Path(checkpoint_dir, "state.pt"))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        state = torch.load(Path(checkpoint_dir, "state.pt"), weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
