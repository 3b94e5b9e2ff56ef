"""Formats of a saved state: what ``save_checkpoint`` may return, and how it is handed back.

A directory and a path or prefix inside it are kept as they are; a dictionary becomes one file, JSON
where reading it again gives exactly the same, else pickle protocol 5. Pickles are only ever loaded
here, in the trial's own Pod.
"""

from __future__ import annotations

import json
import math
import os
import pickle
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tune_trainer.trainable import Trainable

JSON_FILE = "tune_state.json"
PICKLE_FILE = "tune_state.pickle"
DEEPEST = 100
"""Nesting beyond which a dictionary is pickled; cyclic ones end here too."""


class Kind(StrEnum):
    """How the state lies in its directory; the manifest's ``kind``."""

    DIRECTORY = "directory"
    PATH = "path"
    JSON = "json"
    PICKLE = "pickle"


@dataclass(frozen=True)
class Saved:
    """A state on disk; ``relative`` is the path or prefix inside the directory (kind PATH)."""

    kind: Kind
    relative: str = ""


def save(trainable: Trainable, directory: Path) -> Saved:
    """Have the trainable save itself into an empty directory.

    Raises ValueError for a path outside it, TypeError for any other return value.
    """
    returned: Any = trainable.save_checkpoint(str(directory))
    if returned is None:
        return Saved(Kind.DIRECTORY)
    if isinstance(returned, dict):
        return _save_dict(returned, directory)
    if isinstance(returned, str | os.PathLike):
        relative = _inside(os.fspath(returned), directory)
        return Saved(Kind.PATH, relative) if relative else Saved(Kind.DIRECTORY)
    raise TypeError(
        "save_checkpoint() must return None, a dict, or a path inside its directory, "
        f"got {type(returned).__name__}"
    )


def load(trainable: Trainable, kind: str, relative: str, directory: Path) -> None:
    """Hand a restored directory back in the form in which it was saved; raises ValueError."""
    match kind:
        case Kind.DIRECTORY:
            trainable.load_checkpoint(str(directory))
        case Kind.PATH:
            # Plain text: a prefix such as "model-" names no file of its own.
            trainable.load_checkpoint(f"{directory}/{relative}")
        case Kind.JSON:
            trainable.load_checkpoint(json.loads((directory / JSON_FILE).read_bytes()))
        case Kind.PICKLE:
            data = (directory / PICKLE_FILE).read_bytes()
            trainable.load_checkpoint(pickle.loads(data))  # noqa: S301 - our own bytes, verified
        case _:
            raise ValueError(f"a checkpoint of kind {kind!r} is not known to this SDK")


def exact(value: Any, depth: int = 0) -> bool:
    """Whether JSON gives this value back as it is, types included."""
    if depth > DEEPEST:
        return False
    if type(value) is dict:
        return all(type(k) is str and exact(v, depth + 1) for k, v in value.items())
    if type(value) is list:
        return all(exact(item, depth + 1) for item in value)
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is int:
        return value.bit_length() <= 1024  # Python refuses to read very long decimals
    return value is None or type(value) in {str, bool}


def _save_dict(state: dict[Any, Any], directory: Path) -> Saved:
    if exact(state):
        _write_new(directory / JSON_FILE, json.dumps(state).encode())
        return Saved(Kind.JSON)
    _write_new(directory / PICKLE_FILE, pickle.dumps(state, protocol=5))
    return Saved(Kind.PICKLE)


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)


def _inside(returned: str, directory: Path) -> str:
    """The path relative to the directory, "" for the directory itself; a prefix stays a prefix."""
    full = os.path.normpath(directory / returned)
    if full == str(directory):
        return ""
    if not full.startswith(f"{directory}{os.sep}"):
        raise ValueError(
            f"save_checkpoint() returned {returned!r}, which is not inside {str(directory)!r}"
        )
    return full[len(str(directory)) + 1 :].replace(os.sep, "/")
