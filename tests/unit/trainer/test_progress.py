"""The automatic fields of a result, by the rules of Ray Tune 2.60: a case for each.

A case is what ``step`` returned one iteration after the other, 2 s each, with RESTORED where the
trial went on from a checkpoint of the iteration before; and what the last result then says.
"""

import math
from typing import Any

import numpy as np
import pytest

from tune_trainer.progress import Progress

RESTORED: dict[str, Any] = {"restored": True}
ABSENT = object()
Results = list[dict[str, Any]]


def last(results: Results) -> dict[str, Any]:
    progress, filled = Progress(), {}
    for reported in results:
        if reported is RESTORED:
            saved, progress = progress.to_json(), Progress()
            progress.restore(saved)
        else:
            filled = progress.fill(reported, 2.0, trial_id="00003", config={"lr": 1})
    return filled


STEPS = {"timesteps_this_iter": 10}
EPISODES = {"episodes_this_iter": 2}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        # Which are counted.
        pytest.param([{}], {"training_iteration": 1, "iterations_since_restore": 1}, id="first"),
        pytest.param([{}, {}], {"training_iteration": 2, "time_total_s": 4.0}, id="second"),
        pytest.param([{}], {"done": False, "trial_id": "00003", "config": {"lr": 1}}, id="facts"),
        pytest.param(
            [{}], {"timesteps_total": ABSENT, "episodes_total": ABSENT,
                   "timesteps_since_restore": ABSENT}, id="no totals without increments",
        ),
        pytest.param(
            [STEPS, {}], {"timesteps_total": 10, "timesteps_since_restore": 10,
                          "timesteps_this_iter": ABSENT}, id="steps stay when none are reported",
        ),
        pytest.param([EPISODES, EPISODES], {"episodes_total": 4}, id="episodes"),
        pytest.param(
            [{"timesteps_this_iter": 0}], {"timesteps_total": 0, "timesteps_since_restore": ABSENT},
            id="no steps are a total of 0",
        ),
        pytest.param([{"timesteps_this_iter": 2.5}], {"timesteps_total": 2.5}, id="half a step"),
        pytest.param(
            [{"timesteps_this_iter": np.int64(3)}], {"timesteps_total": 3}, id="NumPy's steps"
        ),
        pytest.param([{"timesteps_this_iter": None}], {"timesteps_total": ABSENT}, id="null"),
        # Which the user may override.
        pytest.param([{"done": True}], {"done": True}, id="done"),
        pytest.param([{"done": None}], {"done": None}, id="done, if only null"),
        pytest.param(
            [{"time_this_iter_s": 5.0}], {"time_this_iter_s": 5.0, "time_total_s": 5.0,
                                          "time_since_restore": 5.0}, id="the time",
        ),
        pytest.param([{"time_this_iter_s": None}], {"time_this_iter_s": 2.0}, id="not by null"),
        pytest.param([{"timestamp": 7}], {"timestamp": 7}, id="the time stamp"),
        pytest.param(
            [STEPS | {"timesteps_total": 99}, STEPS], {"timesteps_total": 20},
            id="a total, in its own result only",
        ),
        pytest.param(
            [{"timesteps_total": 99, "episodes_total": 9}],
            {"timesteps_total": 99, "episodes_total": 9}, id="totals without increments",
        ),
        pytest.param(
            [{"training_iteration": 10}, {}], {"training_iteration": 11,
                                               "iterations_since_restore": 2},
            id="the iteration, which is counted on from",
        ),
        pytest.param(
            [{"trial_id": "x", "pid": -1, "hostname": "x", "node_ip": "x", "date": "x",
              "config": {}, "time_total_s": -1, "time_since_restore": -1,
              "iterations_since_restore": -1}],
            {"trial_id": "00003", "config": {"lr": 1}, "time_total_s": 2.0,
             "time_since_restore": 2.0, "iterations_since_restore": 1}, id="not the facts",
        ),
        # Which are kept across a restore, and which are reset.
        pytest.param(
            [{}, {}, RESTORED, {}], {"training_iteration": 3, "time_total_s": 6.0}, id="kept"
        ),
        pytest.param(
            [{}, {}, RESTORED, {}], {"iterations_since_restore": 1, "time_since_restore": 2.0},
            id="reset",
        ),
        pytest.param(
            [STEPS, RESTORED, {}], {"timesteps_total": 10, "timesteps_since_restore": ABSENT},
            id="the steps are kept, those since the restore are not",
        ),
        pytest.param([STEPS, RESTORED, STEPS], {"timesteps_total": 20,
                                                "timesteps_since_restore": 10}, id="steps go on"),
        pytest.param([EPISODES, RESTORED, EPISODES], {"episodes_total": 4}, id="episodes go on"),
        pytest.param(
            [STEPS | {"timesteps_total": 99}, RESTORED, STEPS], {"timesteps_total": 109},
            id="on from the user's own total",
        ),
        pytest.param(
            [EPISODES | {"episodes_total": 50}, RESTORED, EPISODES], {"episodes_total": 52},
            id="on from the user's own episodes",
        ),
        pytest.param(
            [STEPS | {"timesteps_total": "many"}, RESTORED, STEPS], {"timesteps_total": 20},
            id="a total that is no number",
        ),
        pytest.param(
            [{"training_iteration": 10}, RESTORED, {}], {"training_iteration": 11},
            id="on from the user's own iteration",
        ),
        pytest.param(
            [{"time_this_iter_s": 5.0}, RESTORED, {}], {"time_total_s": 7.0}, id="the user's time"
        ),
    ],
)  # fmt: skip
def test_a_field(results: Results, expected: dict[str, Any]) -> None:
    result = last(results)
    assert {name: result.get(name, ABSENT) for name in expected} == expected


@pytest.mark.parametrize("falsy", [0, None, 0.0])
def test_a_time_stamp_that_is_none_is_filled_in(falsy: Any) -> None:
    assert last([{"timestamp": falsy}])["timestamp"] > 1_700_000_000


@pytest.mark.parametrize(
    ("reported", "message"),
    [
        ({"time_this_iter_s": math.nan}, "time_this_iter_s nan: expected a finite number"),
        ({"time_this_iter_s": "long"}, "time_this_iter_s 'long'"),
        ({"timesteps_this_iter": math.inf}, "timesteps_this_iter inf"),
        ({"episodes_this_iter": [1]}, r"episodes_this_iter \[1\]"),
        ({"training_iteration": 0}, "training_iteration 0 after 0: it must grow"),
        ({"training_iteration": 1.5}, "training_iteration 1.5 after 0"),
        ({"training_iteration": 10**12}, "must grow with every result and be whole"),
        ({"training_iteration": True}, "training_iteration True: expected"),
    ],
)
def test_what_cannot_be_counted_with_is_named(reported: dict[str, Any], message: str) -> None:
    progress = Progress()
    with pytest.raises(ValueError, match=message):
        progress.fill(reported, 2.0, trial_id="00003", config={})
    assert progress == Progress(), "nothing was counted"
