"""``python -m tune_trainer module:name``: what the image runs."""

import sys

from tune_trainer import departure
from tune_trainer.runner import main

if __name__ == "__main__":
    code = main(sys.argv[1:])
    departure.exit_within(departure.SECONDS, code)
    sys.exit(code)
