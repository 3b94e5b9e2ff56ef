"""The ``search`` section: which configurations the trials get."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tune_operator.api.base import Model, OneOf, Rule, rules
from tune_operator.api.search_space import Dimension

MAX_DIMENSIONS: Final = 100
_KEY: Final = r"^[A-Za-z_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*$"
_KEY_HELP: Final = (
    "a parameter's name starts with a letter or '_' and has letters, digits, '_', '.' and '-'; "
    "'a/b' makes b inside a; at most 63 characters"
)
_NESTING_HELP: Final = "a parameter cannot be a value and hold others (a and a/b): rename one"
_MAX_KEY: Final = 63


def _well_named(space: dict[str, Dimension]) -> dict[str, Dimension]:
    for key in space:
        if len(key) > _MAX_KEY or not re.fullmatch(_KEY, key):
            raise PydanticCustomError(
                "key",
                "{key}: {help}",
                {"key": repr(key), "help": _KEY_HELP},
            )
        parts = key.split("/")
        for depth in range(1, len(parts)):
            outer = "/".join(parts[:depth])
            if outer in space:
                raise PydanticCustomError(
                    "key",
                    "{key}: {help}",
                    {"key": repr(key), "help": _NESTING_HELP},
                )
    return space


Space = Annotated[
    dict[str, Dimension],
    Field(
        min_length=1,
        max_length=MAX_DIMENSIONS,
        json_schema_extra=rules(
            Rule(f"self.all(key, size(key) <= {_MAX_KEY} && key.matches('{_KEY}'))", _KEY_HELP),
            Rule("self.all(key, !self.exists(inner, inner.startsWith(key + '/')))", _NESTING_HELP),
        ),
    ),
    AfterValidator(_well_named),
]


class RandomSearch(Model):
    """Random sampling; together with gridSearch dimensions, random samples per grid point."""


class Algorithm(OneOf):
    """Exactly one algorithm."""

    random: RandomSearch | None = Field(
        default=None, description="Random sampling and grid search."
    )


class Search(Model):
    """Search space and how it is searched."""

    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = Field(
        default=None,
        description="Makes the configurations reproducible. Default: derived from the run.",
    )
    algorithm: Algorithm = Field(
        default=Algorithm(random=RandomSearch()),
        description="How configurations are chosen. Default random.",
    )
    space: Space = Field(
        description="Parameters by name; the name a/b makes parameter b inside a of the trial's "
        "configuration. Exactly one distribution, list of values or constant for each."
    )
