"""Searchers: from the ``search`` section to the configuration of every trial.

Random sampling with a grid gives the same variants in the same order and number as Ray Tune's
BasicVariantGenerator: each random sample runs through the whole grid, the grid's axes are sorted by
name and the first varies fastest, and random parameters are drawn anew at every grid point.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from pydantic import JsonValue, ValidationError

from tune_operator.api import errors
from tune_operator.api.search import Search
from tune_operator.api.search_space import Dimension, Distribution
from tune_operator.tuning import sampling
from tune_operator.tuning.errors import SearchSpaceError
from tune_operator.tuning.streams import draw

MAX_GRID: Final = 10**6
"""Points of a grid."""

Path = tuple[str, ...]


class Searcher(Protocol):
    """Where configurations come from."""

    @property
    def total(self) -> int:
        """How many trials there are."""

    def config(self, index: int) -> dict[str, Any]:
        """Configuration of the trial with this index, from 0; raises IndexError."""


@dataclass(frozen=True)
class RandomSearcher:
    """Random samples over a grid. A configuration depends on (seed, index) alone."""

    space: Mapping[str, Dimension]
    grid: tuple[tuple[str, list[JsonValue]], ...]
    num_samples: int
    seed: int

    @property
    def total(self) -> int:
        """Samples times points of the grid."""
        return self.num_samples * _points(self.grid)

    def config(self, index: int) -> dict[str, Any]:
        """Configuration of the trial with this index, nested as its keys say; raises IndexError."""
        if not 0 <= index < self.total:
            raise IndexError(f"trial {index} of {self.total}")
        flat = {key: self._value(key, dimension, index) for key, dimension in self.space.items()}
        point = index % _points(self.grid)
        for key, values in self.grid:
            point, position = divmod(point, len(values))
            flat[key] = copy.deepcopy(values[position])
        return _nested(flat)

    def _value(self, key: str, dimension: Dimension, index: int) -> JsonValue:
        match dimension.kind:
            case "grid_search":
                return None  # its value comes from the grid point
            case "constant":
                return copy.deepcopy(dimension.constant)
            case "choice":
                return sampling.pick(dimension.choice or [], draw(self.seed, key, index))
            case _:
                domain = cast(Distribution, dimension.chosen)
                return sampling.sample(domain, draw(self.seed, key, index))


def build(
    spec: Mapping[str, Any],
    *,
    num_samples: int,
    metric: str,  # noqa: ARG001 - what algorithms that learn from results optimise
    mode: str,  # noqa: ARG001
    seed: int,
) -> Searcher:
    """The searcher of a ``search`` section as it stands in the object.

    ``seed`` is the one to use, whether the section or the run gave it. Raises SearchSpaceError.
    """
    search = _read(spec)
    axes = [(key, item.grid_search) for key, item in search.space.items() if item.grid_search]
    grid = tuple(sorted(axes, key=lambda axis: _path(axis[0])))
    if _points(grid) > MAX_GRID:
        raise SearchSpaceError(
            "space",
            f"the grid has {_points(grid)} points, at most {MAX_GRID} are possible: "
            "shorten its axes, or turn gridSearch into choice",
        )
    return RandomSearcher(search.space, grid, num_samples, seed)


def _read(spec: Mapping[str, Any]) -> Search:
    try:
        return Search.model_validate(spec)
    except ValidationError as error:
        location = error.errors(include_url=False)[0]["loc"]
        path = errors.path(location, "")
        text = errors.describe(error, model=Search, at="")
        raise SearchSpaceError(path, text.removeprefix(f"{path}: ")) from None


def _points(grid: tuple[tuple[str, list[JsonValue]], ...]) -> int:
    return math.prod(len(values) for _, values in grid)


def _path(key: str) -> Path:
    return tuple(key.split("/"))


def _nested(flat: Mapping[str, JsonValue]) -> dict[str, Any]:
    """``{"a/b": 1}`` as ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for key, value in flat.items():
        *outer, last = _path(key)
        place = result
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return result
