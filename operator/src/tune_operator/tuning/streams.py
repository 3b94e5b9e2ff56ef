"""Random numbers as a pure function of (seed, parameter, trial).

Every parameter has a stream of its own, so adding or removing one changes no other, and any trial's
number is found without drawing those before it. A hash does this without a generator's state and
gives the same numbers in every version of Python, which is what makes an experiment reproducible.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

_BITS: Final = 53
"""Bits of a double's mantissa: every draw is exact as a float."""


@dataclass(frozen=True)
class Draw:
    """One uniformly distributed number."""

    bits: int

    @property
    def unit(self) -> float:
        """In [0, 1)."""
        return self.bits / (1 << _BITS)

    @property
    def interior(self) -> float:
        """In (0, 1), for inverse distribution functions."""
        return (self.bits + 0.5) / (1 << _BITS) if self.bits < (1 << _BITS) - 1 else self.unit

    def below(self, count: int) -> int:
        """An integer in [0, count)."""
        return self.bits * count >> _BITS


def draw(seed: int, parameter: str, trial: int) -> Draw:
    """The number of ``parameter`` in the trial with this index."""
    digest = hashlib.sha256(f"{seed}\0{parameter}\0{trial}".encode()).digest()
    return Draw(int.from_bytes(digest[:8], "big") >> (64 - _BITS))
