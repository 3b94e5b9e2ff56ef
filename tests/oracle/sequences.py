"""Random histories of an experiment, the same for a seed on every machine.

Times jump, values tie and are missing or not finite, results come twice, trials end, fail and come
back. No decision changes what follows, so that a history needs no scheduler to be made.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

Event = tuple[str, str, dict[str, Any]]
"""What happens (add, result, complete, error), the trial, and its result."""


def asha_spec(seed: int) -> tuple[dict[str, Any], str]:
    """A ``scheduler.asha`` section and the mode."""
    chance = random.Random(seed)
    spec = {
        "timeAttr": chance.choice(["training_iteration", "time_total_s"]),
        "maxT": chance.choice([9, 27, 100]),
        "gracePeriod": chance.choice([1, 2, 5]),
        "reductionFactor": chance.choice([2, 2.5, 3, 4]),
        "brackets": chance.choice([1, 1, 2, 3]),
    }
    return spec, chance.choice(["max", "min"])


def history(seed: int, length: int = 60) -> Iterator[Event]:
    """``length`` events of up to eight trials."""
    chance = random.Random(f"history {seed}")
    now: dict[str, int] = {}
    live: set[str] = set()
    for _ in range(length):
        trial = f"{chance.randrange(8):05}"
        if trial not in live:
            live.add(trial)
            now.setdefault(trial, 0)
            yield "add", trial, {}
            continue
        kind = chance.choices(["result", "complete", "error"], [20, 1, 1])[0]
        now[trial] = max(0, now[trial] + chance.choice([1, 1, 1, 2, 5, 20, 0, -3]))
        result = {
            "training_iteration": now[trial],
            "time_total_s": now[trial] * 1.5,
            "score": chance.choice([chance.random(), chance.randrange(4) / 4, chance.gauss(0, 9)]),
        }
        if chance.random() < 0.05:
            result["score"] = chance.choice([math.nan, math.inf, -math.inf])
        if chance.random() < 0.05:
            del result[chance.choice(["time_total_s", "score"])]
        if kind != "result":
            live.discard(trial)
        yield kind, trial, {} if kind == "error" else result
