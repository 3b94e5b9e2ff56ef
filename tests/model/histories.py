"""What can happen and how often, and random histories made of it."""

from __future__ import annotations

import random

from tests.model.play import Play

ACTIONS: dict[str, int] = {
    "look": 8,
    "look_stale": 4,
    "step": 8,
    "hear_pod": 4,
    "hear_experiment": 3,
    "lose_cache": 1,
    "crash": 1,
    "fault": 2,
    "throttle": 1,
    "kubelet": 8,
    "end": 3,
    "node_fails": 1,
    "evict": 1,
    "delete_pod": 1,
    "tear_away": 1,
    "ask": 5,
    "train": 4,
    "commit": 4,
    "complete": 1,
    "haunt": 2,
    "wait": 3,
    "store_turns": 1,
    "delete_experiment": 1,
}
"""What can happen, and how often it does when a generator picks."""


def random_history(seed: int, steps: int = 120) -> Play:
    """Any history, the same for the same seed."""
    chance = random.Random(seed)
    play = Play()
    names = chance.choices(list(ACTIONS), list(ACTIONS.values()), k=steps)
    for name in names:
        getattr(play, name)(chance.getrandbits(16))
    play.come_to_an_end(deleted=chance.random() < 0.5)
    return play
