"""``python -m tune_trainer module:Class``: what the image runs."""

import os
import sys

from tune_trainer import departure, init

if __name__ == "__main__":
    if os.getpid() == 1:
        init.become()
    # Later, so that process 1 stays small.
    from tune_trainer.runner import main

    code = main(sys.argv[1:])
    departure.exit_within(departure.SECONDS, code)
    sys.exit(code)
