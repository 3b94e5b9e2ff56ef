"""``python -m tune_operator``: run the operator until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import sys

from tune_operator.app import run
from tune_operator.config import Settings, SettingsError
from tune_operator.obs.logging import configure

EXIT_USAGE = 2


def main() -> int:
    """Exit code: 0 after an orderly stop, 1 when a part failed, 2 for settings that are wrong."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"tune-operator: {error}\n")
        return EXIT_USAGE
    configure(settings.log_level, settings.log_format)
    return asyncio.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
