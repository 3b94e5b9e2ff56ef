"""What a result costs a scheduler: microseconds of CPU per ``on_result`` with many trials."""

from __future__ import annotations

import argparse
import random
import time

from tune_operator.tuning.schedulers import build


def asha(trials: int) -> float:
    """Microseconds per result of ASHA; every trial reports at each of ten iterations."""
    chance = random.Random(1)
    scheduler = build({"asha": {"reductionFactor": 2}}, metric="score", mode="max")
    names = [f"{index:05}" for index in range(trials)]
    for name in names:
        scheduler.on_trial_add(name, {})
    results = [
        (name, {"training_iteration": iteration, "score": chance.random()})
        for iteration in range(1, 11)
        for name in names
    ]
    begin = time.process_time()
    for name, result in results:
        scheduler.on_result(name, result)
    return (time.process_time() - begin) / len(results) * 1e6


def main() -> None:
    """Print the figure."""
    parser = argparse.ArgumentParser(prog="benchmarks.tuning", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    print(f"asha on_result, {trials} trials: {asha(trials):.1f} us (target 50 us)")


if __name__ == "__main__":
    main()
