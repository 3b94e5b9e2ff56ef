"""Names of the fields of a result, as in Ray Tune (``ray.tune.result``)."""

from typing import Final

DONE: Final = "done"
"""Set by the trainable to end the trial; filled with False otherwise."""

SHOULD_CHECKPOINT: Final = "should_checkpoint"
"""A truthy value in a result asks for a checkpoint after this iteration."""

RESULT_DUPLICATE: Final = "__duplicate__"
"""In a result of ``step``: there is no new one, the last is the final one and the trial is done.

A function that returns ends its trial so; the last result is neither counted nor sent again.
"""

DEFAULT_METRIC: Final = "_metric"
"""Name of a number that a function returns or yields instead of a dictionary."""

TRAINING_ITERATION: Final = "training_iteration"
TIME_THIS_ITER_S: Final = "time_this_iter_s"
TIME_TOTAL_S: Final = "time_total_s"
TIME_SINCE_RESTORE: Final = "time_since_restore"
ITERATIONS_SINCE_RESTORE: Final = "iterations_since_restore"
TIMESTEPS_THIS_ITER: Final = "timesteps_this_iter"
TIMESTEPS_TOTAL: Final = "timesteps_total"
TIMESTEPS_SINCE_RESTORE: Final = "timesteps_since_restore"
EPISODES_THIS_ITER: Final = "episodes_this_iter"
EPISODES_TOTAL: Final = "episodes_total"
TIMESTAMP: Final = "timestamp"
DATE: Final = "date"
TRIAL_ID: Final = "trial_id"
HOSTNAME: Final = "hostname"
NODE_IP: Final = "node_ip"
PID: Final = "pid"
CONFIG: Final = "config"
