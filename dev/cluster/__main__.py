"""Entry point: `python3 dev/cluster <command>`, also without the project's virtual environment."""

import sys
from pathlib import Path

# Started as a folder, Python puts dev/cluster first on sys.path; the modules live below the
# repository's root, under one name for this entry point and for the tests.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from dev.cluster.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
