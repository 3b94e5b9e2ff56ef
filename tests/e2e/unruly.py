"""A trainer that learns what the digits example learns, and misbehaves as its parameters say.

``deaf``: SIGTERM is ignored. ``first_pace``: seconds that an iteration of the first attempt takes,
but for its first one. And, each as the iteration in which it happens (0 is never): ``hoard_at``
takes 400 MiB of memory, ``litter_at`` writes 64 MiB to the container's own files, ``fail_at``
raises.
"""

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from examples.digits.digits import Digits
else:  # beside this file in the Pod
    from digits import Digits

MEBIBYTE = 2**20


class Unruly(Digits):
    """Behaves, unless told otherwise."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        if config.get("deaf"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def step(self) -> dict[str, float]:
        if self.iteration and os.environ["TUNE_ATTEMPT"] == "1":
            time.sleep(float(self.config.get("first_pace", 0)))
        if self._now("hoard_at"):
            self.hoard = b"x" * (400 * MEBIBYTE)
        if self._now("litter_at"):
            Path(tempfile.gettempdir(), "litter").write_bytes(b"x" * (64 * MEBIBYTE))
        if self._now("fail_at"):
            raise RuntimeError("told to fail")
        return super().step()

    def _now(self, what: str) -> bool:
        return self.iteration + 1 == self.config.get(what)
