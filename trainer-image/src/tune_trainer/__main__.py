"""``python -m tune_trainer module:Class``: what the image runs."""

import sys

from tune_trainer.runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
