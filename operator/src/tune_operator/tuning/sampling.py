"""From a draw to a value of one dimension.

Bounds are those of Ray Tune 2.60: ``lower`` is included; ``upper`` is excluded for integers with q
= 1, the plain ones among them, and included for all other quantised values. Quantised integers are
drawn from the multiples of q; quantised floats are drawn first and rounded afterwards, so that the
two multiples at the ends get half the weight of the others.
"""

from __future__ import annotations

import copy
import math
import sys
from statistics import NormalDist
from typing import assert_never

from pydantic import JsonValue

from tune_operator.api import search_space as space
from tune_operator.tuning.streams import Draw


def sample(domain: space.Distribution, draw: Draw) -> int | float:
    """The value that ``draw`` picks from ``domain``."""
    match domain:
        case space.QuantisedFloatRange(lower=lower, upper=upper, q=q):
            return _quantised(_uniform(lower, upper, draw), q, lower, upper)
        case space.QuantisedLogFloatRange(lower=lower, upper=upper, q=q):
            return _quantised(_loguniform(lower, upper, draw), q, lower, upper)
        case space.FloatRange(lower=lower, upper=upper):
            return _uniform(lower, upper, draw)
        case space.LogFloatRange(lower=lower, upper=upper):
            return _loguniform(lower, upper, draw)
        case space.IntegerRange(lower=lower, upper=upper):
            return lower + draw.below(upper - lower)
        case space.LogIntegerRange(lower=lower, upper=upper):
            return _log_integer(lower, upper, draw)
        case space.QuantisedIntegerRange(q=q):
            first, end = _steps(domain)
            return (first + draw.below(end - first)) * q
        case space.QuantisedLogIntegerRange(q=q):
            return _log_integer(*_steps(domain), draw) * q
        case space.Normal(mean=mean, sd=sd):
            return _normal(mean, sd, draw)
        case space.QuantisedNormal(mean=mean, sd=sd, q=q):
            return _quantised(_normal(mean, sd, draw), q, -sys.float_info.max, sys.float_info.max)
        case _:
            assert_never(domain)


def pick(values: list[JsonValue], draw: Draw) -> JsonValue:
    """One of ``values``; a copy, so that no two trials share it."""
    return copy.deepcopy(values[draw.below(len(values))])


def _uniform(lower: float, upper: float, draw: Draw) -> float:
    share = draw.unit
    return _clamp(lower * (1.0 - share) + upper * share, lower, upper)  # no overflow in between


def _loguniform(lower: float, upper: float, draw: Draw) -> float:
    exponent = _uniform(math.log(lower), math.log(upper), draw)
    return _clamp(math.exp(exponent), lower, upper)


def _normal(mean: float, sd: float, draw: Draw) -> float:
    limit = sys.float_info.max
    return _clamp(mean + sd * NormalDist().inv_cdf(draw.interior), -limit, limit)


def _quantised(value: float, q: float, lower: float, upper: float) -> float:
    steps = value / q
    if not math.isfinite(steps):  # q is finer than the float itself
        return value
    return _clamp(round(steps) * q, lower, upper)


def _steps(domain: space.QuantisedIntegerRange | space.QuantisedLogIntegerRange) -> tuple[int, int]:
    """The multiples of q in the range, divided by q: from the first up to, not including, the end.

    Ray excludes ``upper`` for q = 1, where a quantised integer is a plain one.
    """
    first, last = -(-domain.lower // domain.q), domain.upper // domain.q
    return first, last if domain.q == 1 else last + 1


def _log_integer(lower: int, end: int, draw: Draw) -> int:
    return min(math.floor(_loguniform(lower, end, draw)), end - 1)


def _clamp(value: float, lower: float, upper: float) -> float:
    return float(min(max(value, lower), upper))
