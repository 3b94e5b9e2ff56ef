"""Environment of a trainer's Pod: the names the operator sets and the SDK reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

SESSION_URL = "TUNE_SESSION_URL"
CA = "TUNE_CA"
TOKEN_FILE = "TUNE_TOKEN_FILE"  # noqa: S105 - names of variables, not secrets
TRIAL = "TUNE_TRIAL"
ATTEMPT = "TUNE_ATTEMPT"
ENTRYPOINT = "TUNE_ENTRYPOINT"
GRACE_SECONDS = "TUNE_GRACE_SECONDS"
PARAM_PREFIX = "TUNE_PARAM_"

ACCESS_KEY = "AWS_ACCESS_KEY_ID"
SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_UNUSABLE = 75
"""Store or operator unusable, or the attempt was fenced (EX_TEMPFAIL of sysexits.h)."""


def param_variable(parameter: str) -> str:
    """Name of the variable that carries one parameter: upper case, every other character ``_``."""
    return PARAM_PREFIX + re.sub(r"[^A-Z0-9]", "_", parameter.upper())


def collisions(parameters: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of parameters that would share one variable, in the order given."""
    seen: dict[str, str] = {}
    clashes = []
    for parameter in parameters:
        variable = param_variable(parameter)
        if variable in seen:
            clashes.append((seen[variable], parameter))
        else:
            seen[variable] = parameter
    return clashes


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration as ``{"a/b": value}``, the way search spaces name nested keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{path}/"))
        else:
            flat[path] = value
    return flat
