"""Waiting for facts: look until it is so, or fail with what explains why it never was."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.1


async def eventually(
    look: Callable[[], Awaitable[T | None]],
    what: str,
    seconds: float,
    explain: Callable[[], Awaitable[str]],
) -> T:
    """The first true answer of ``look``; AssertionError after ``seconds`` without one."""
    deadline = time.monotonic() + seconds
    while True:
        if found := await look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s\n{await explain()}")
        await asyncio.sleep(PAUSE)


def soon(look: Callable[[], T | None], what: str, seconds: float, explain: Callable[[], str]) -> T:
    """The same without an event loop."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s\n{explain()}")
        time.sleep(PAUSE)
