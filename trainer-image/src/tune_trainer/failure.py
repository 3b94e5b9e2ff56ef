"""How an exception of the user's code is told: in the exit record, on stderr, in ``kubectl``."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_trainer.errors import TrainerError
from tune_trainer.protocol.exit_record import MESSAGE_LIMIT

FRAMES = 5
"""Innermost frames that are told."""

_OURS = str(Path(__file__).parent)


@contextmanager
def during(call: str, trial: str, iteration: int) -> Iterator[None]:
    """Note at an exception of the user's code in which call it was raised; the innermost counts.

    The frames do not tell it when it was raised deep inside a library.
    """
    try:
        yield
    except TrainerError:
        raise
    except BaseException as error:
        where = f" of trial {trial}, iteration "
        if not any(where in note for note in getattr(error, "__notes__", ())):
            error.add_note(f"in {call}{where}{iteration}")
        raise


def describe(error: BaseException) -> str:
    """Type, text and notes first, then the last frames outside the SDK, innermost last; 1 KiB."""
    head = "".join(traceback.format_exception_only(error)).strip()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen"))
    ]
    lines = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames[-FRAMES:]]
    return cut("\n".join([cut(head, MESSAGE_LIMIT * 3 // 4), *lines]))


def cut(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text, its middle left out where it is longer than ``limit`` bytes of UTF-8."""
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    gap = " ... "
    half = (limit - len(gap)) // 2
    return data[:half].decode(errors="ignore") + gap + data[-half:].decode(errors="ignore")
