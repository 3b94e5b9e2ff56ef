"""Records what Ray Tune 2.60.0 decides: run it with a Python that has Ray and this project.

    PYTHONPATH=operator/src:trainer-image/src:. python -m tests.oracle.asha

Each line holds the decisions on the results of one history, C or S; - is where the project differs
on purpose: a result not newer than the newest, which Ray is not shown, and a value that is not
finite, which Ray is shown as NaN. tests/unit/tuning/test_asha.py has these by name.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import ray  # type: ignore[import-not-found]
from ray.tune.schedulers import ASHAScheduler  # type: ignore[import-not-found]

from tests.oracle.sequences import asha_spec, history
from tune_operator.tuning.streams import draw

SEQUENCES = 2000
TARGET = Path(__file__).parent / "asha.txt.gz"


def decisions(seed: int) -> str:
    """Ray's decisions on the history of ``seed``."""
    spec, mode = asha_spec(seed)
    scheduler = ASHAScheduler(
        time_attr=spec["timeAttr"],
        metric="score",
        mode=mode,
        max_t=spec["maxT"],
        grace_period=spec["gracePeriod"],
        reduction_factor=spec["reductionFactor"],
        brackets=spec["brackets"],
    )
    newest: dict[str, int] = {}
    answers = []
    for kind, name, given in history(seed):
        trial = SimpleNamespace(trial_id=name)
        result = dict(given)
        score = result.get("score", 0.0)
        if not math.isfinite(score):
            result["score"] = math.nan
        known = spec["timeAttr"] in result and "score" in result
        stale = known and result["training_iteration"] <= newest.get(name, -1)
        if known and not stale:
            newest[name] = result["training_iteration"]
        if kind == "add":
            unit = draw(seed, f"bracket/{name}", 0).unit

            def choice(count: int, p: np.ndarray, unit: float = unit) -> int:
                return int(np.searchsorted(np.cumsum(p), unit, side="right"))

            with mock.patch("numpy.random.choice", choice):
                scheduler.on_trial_add(None, trial)
        elif kind == "error":
            scheduler.on_trial_error(None, trial)
        elif kind == "complete":
            if not stale:
                scheduler.on_trial_complete(None, trial, result)
        elif stale:
            answers.append("-")
        else:
            answer = scheduler.on_trial_result(None, trial, result)
            finite = math.isfinite(score) or answer == "STOP"
            answers.append(answer[0] if finite else "-")
    return "".join(answers)


def main() -> None:
    """Write the file beside this one."""
    assert ray.__version__ == "2.60.0", ray.__version__
    lines = "\n".join(decisions(seed) for seed in range(SEQUENCES))
    TARGET.write_bytes(gzip.compress(lines.encode(), mtime=0))


if __name__ == "__main__":
    main()
