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
from typing import Any, BinaryIO

from tune_trainer.failure import during
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

    @property
    def file(self) -> str:
        """The one file of a dictionary, "" for what the trainable wrote itself."""
        return {Kind.JSON: JSON_FILE, Kind.PICKLE: PICKLE_FILE}.get(self.kind, "")


def save(trainable: Trainable, directory: Path, spare: Path | None = None) -> Saved:
    """Have the trainable save itself into an empty directory.

    A dictionary's file is written over ``spare`` if there is such a file: filling what a file
    system has in memory already is several times as fast. Raises ValueError for a path outside the
    directory and for nothing saved, TypeError for any other return value, and what the user's code
    raises.
    """
    with during("save_checkpoint()", trainable.trial_id, trainable.iteration):
        returned: Any = trainable.save_checkpoint(str(directory))
        if not directory.is_dir():
            raise ValueError("save_checkpoint() removed the directory that it was given")
        saved = _saved(returned, directory, spare)
        _require_files(directory)
        return saved


def _saved(returned: Any, directory: Path, spare: Path | None) -> Saved:
    if returned is None:
        return Saved(Kind.DIRECTORY)
    if isinstance(returned, dict):
        return _save_dict(returned, directory, spare)
    if isinstance(returned, str | os.PathLike):
        relative = _inside(os.fspath(returned), directory)
        return Saved(Kind.PATH, relative) if relative else Saved(Kind.DIRECTORY)
    raise TypeError(
        "save_checkpoint() must return None, a dict, or a path inside its directory, "
        f"got {type(returned).__name__}"
    )


def load(trainable: Trainable, kind: str, relative: str, directory: Path) -> None:
    """Hand a restored directory back in the form in which it was saved; raises ValueError."""
    with during("load_checkpoint()", trainable.trial_id, trainable.iteration):
        _load(trainable, kind, relative, directory)


def _load(trainable: Trainable, kind: str, relative: str, directory: Path) -> None:
    match kind:
        case Kind.DIRECTORY:
            trainable.load_checkpoint(str(directory))
        case Kind.PATH:
            # Plain text: a prefix such as "model-" names no file of its own.
            trainable.load_checkpoint(f"{directory}/{relative}")
        case Kind.JSON:
            trainable.load_checkpoint(json.loads((directory / JSON_FILE).read_bytes()))
        case Kind.PICKLE:
            with (directory / PICKLE_FILE).open("rb") as file:  # never as a whole in memory
                found = pickle.load(file)  # noqa: S301 - our own bytes, verified
            trainable.load_checkpoint(found)
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


def _save_dict(state: dict[Any, Any], directory: Path, spare: Path | None) -> Saved:
    kind, name = (Kind.JSON, JSON_FILE) if exact(state) else (Kind.PICKLE, PICKLE_FILE)
    path = directory / name
    if path.exists():
        raise FileExistsError(f"save_checkpoint() returned a dictionary and wrote {name} too")
    if spare is not None and spare.exists():
        spare.rename(path)
    with path.open("r+b" if path.exists() else "xb") as file:
        if kind is Kind.JSON:
            file.write(json.dumps(state).encode())
        else:
            _pickle(state, file)
        file.truncate()
    return Saved(kind)


def _pickle(state: dict[Any, Any], file: BinaryIO) -> None:
    """Large arrays go straight into the file. Raises TypeError that names the entry, OSError."""
    try:
        pickle.dump(state, file, protocol=5)
    except OSError:  # the disk's fault, not the state's
        raise
    except Exception as error:
        culprits = [repr(key) for key, value in state.items() if not _can_pickle(value)]
        where = f" at key {', '.join(culprits)}" if culprits else ""
        raise TypeError(
            f"save_checkpoint() returned a dictionary that cannot be pickled{where}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _can_pickle(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - objects may raise anything
        return False
    return True


def _require_files(directory: Path) -> None:
    """Raises ValueError unless there are files, each of which can be stored and read back.

    An empty checkpoint would be the newest one, and nothing could go on from it.
    """
    if not _has_files(directory):
        raise ValueError(
            "save_checkpoint() wrote nothing into its directory and returned no dictionary"
        )


def _has_files(directory: Path) -> bool:
    found = False
    with os.scandir(directory) as entries:
        for entry in entries:
            if problem := _problem(entry):
                raise ValueError(f"save_checkpoint() left {entry.name!r}{problem}")
            if entry.is_file() or entry.is_symlink() or _has_files(Path(entry.path)):
                found = True
    return found


def _problem(entry: os.DirEntry[str]) -> str:
    """What is wrong with a file, for whom a link is what it leads to; "" if nothing is."""
    if "\\" in entry.name or entry.name != entry.name.encode(errors="replace").decode():
        return ": no name that can be stored"
    if entry.is_symlink():
        path = Path(entry.path)
        if not path.exists():
            return ", which leads nowhere"
        if path.parent.resolve().is_relative_to(path.resolve()):
            return ", which leads to where it is"
    return "" if entry.is_file() or entry.is_dir() else ", which is no regular file"


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
