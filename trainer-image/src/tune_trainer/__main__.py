"""``python -m tune_trainer module:name``: what the image runs; with ``--local``, anywhere."""

import os
import sys

from tune_trainer import departure, init

if __name__ == "__main__":
    if os.getpid() == 1:
        init.become()
    # Later, so that process 1 stays small.
    if "--local" in sys.argv[1:]:
        from tune_trainer.local import main as local

        code = local.main(sys.argv[1:])
    else:
        from tune_trainer import runner

        code = runner.main(sys.argv[1:])
    departure.exit_within(departure.SECONDS, code)
    sys.exit(code)
