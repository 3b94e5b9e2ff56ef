"""A process that ends although the user's code left a thread that does not."""

import subprocess
import sys

from tests.unit.trainer.operator_server import WAIT

LEFT_BEHIND = """
import sys, threading
from tune_trainer import departure
threading.Thread(target=threading.Event().wait).start()
departure.exit_within(0.1, 3)
sys.exit(3)
"""


def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", LEFT_BEHIND], check=False, timeout=WAIT)
    assert ended.returncode == 3
