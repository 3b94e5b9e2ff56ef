"""What can happen and how often, and random histories made of it."""

from __future__ import annotations

import random

from tests.model.peace import Peace, conclude
from tests.model.play import Play

ACTIONS: dict[str, int] = {
    "look": 8,
    "poke": 4,
    "step": 24,
    "hear": 8,
    "cut_watch": 1,
    "crash": 1,
    "freeze": 1,
    "kubelet": 8,
    "end": 3,
    "node_fails": 1,
    "node_turns": 1,
    "node_is_taken": 1,
    "controllers": 2,
    "preempt": 1,
    "evict": 1,
    "delete_pod": 1,
    "tear_away": 1,
    "ask": 5,
    "train": 4,
    "commit": 4,
    "complete": 1,
    "haunt": 2,
    "wait": 4,
    "clock_jumps": 1,
    "store_turns": 1,
    "quota_turns": 1,
    "foreign_pod": 1,
    "suspend": 1,
    "change_spec": 1,
    "delete_experiment": 1,
}
"""What can happen, and how often it does when a generator picks."""


def random_history(seed: int, steps: int = 150) -> Play:
    """Any history, the same for the same seed."""
    chance = random.Random(seed)
    names = chance.choices(list(ACTIONS), list(ACTIONS.values()), k=steps)
    with Play() as play:
        for _ in range(2):
            play.happens("change_spec", chance.getrandbits(16))
        for name in names:
            play.happens(name, chance.getrandbits(16))
        conclude(play, Peace.drawn(chance.getrandbits(16)))
    return play
