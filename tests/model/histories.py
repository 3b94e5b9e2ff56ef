"""What can happen and how often, and random histories made of it."""

from __future__ import annotations

import random

from tests.model.peace import Peace, conclude
from tests.model.play import LAST_ITERATION, Play

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


COLLECTED: dict[str, int] = {
    "look": 8,
    "step": 30,
    "hear": 8,
    "crash": 1,
    "freeze": 2,
    "end": 1,
    "evict": 1,
    "node_turns": 1,
    "controllers": 1,
    "tear_away": 1,
    "thrive": 24,
    "upload": 3,
    "haunt": 4,
    "wait": 8,
}
"""Where trainers save all the time and there is much to delete."""


def collected_history(seed: int, steps: int = 300) -> Play:
    """One in which operators delete what is not needed."""
    chance = random.Random(seed)
    names = chance.choices(list(COLLECTED), list(COLLECTED.values()), k=steps)
    with Play(collects=True) as play:
        play.last_iteration = 30
        play.edit_spec(lambda spec: spec["failure"].update(maxFailures=50))
        play.history.max_failures = 50
        for name in ["look", "thrive"] * 6 + names:
            play.happens(name, chance.getrandbits(16))
        play.last_iteration = LAST_ITERATION
        conclude(play, Peace.drawn(chance.getrandbits(16)))
    return play


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
