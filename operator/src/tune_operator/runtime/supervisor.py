"""Runs the long-lived tasks of the process: the first that ends ends all, in order and bounded."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 2.0  # for what a cancelled task still does in its `finally`


class TaskEnded(Exception):
    """A task that should run for ever has ended. Its exception, if any, is the cause."""

    def __init__(self, name: str) -> None:
        super().__init__(f"task {name} ended")
        self.name = name


class Foreseen(Exception):
    """Raised by a task that ends as it should, before its time: its message says all there is."""


@dataclass(frozen=True)
class _Member:
    name: str
    task: asyncio.Task[Any]
    stop: Callable[[], None] | None
    bound: float


class Supervisor:
    """Start order is stop order reversed: what was started last depends on what came before."""

    def __init__(self) -> None:
        self._members: list[_Member] = []

    def start(
        self,
        name: str,
        work: Coroutine[Any, Any, Any],
        *,
        stop: Callable[[], None] | None = None,
        bound: float = 5.0,
    ) -> None:
        """Run `work` as a task.

        At the stop, `stop` (if given) is called and the task gets `bound` seconds to end by itself;
        without `stop`, or after the bound, it is cancelled.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._members.append(_Member(name, task, stop, bound))

    async def run(self, stopping: asyncio.Event) -> None:
        """Wait for `stopping` or for the first task to end, then stop all.

        Raises TaskEnded, from the task's own exception, when one ended before `stopping` was set.
        """
        requested = asyncio.ensure_future(stopping.wait())
        try:
            tasks = {member.task for member in self._members}
            await asyncio.wait({requested, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            ended = next((member for member in self._members if member.task.done()), None)
            failed = None if stopping.is_set() else ended
        finally:
            requested.cancel()
            await self.stop()
        if failed is not None:
            raise TaskEnded(failed.name) from _exception(failed.task)

    async def stop(self) -> None:
        """Stop every task, the last started first, each within its bound. Failures are logged."""
        while self._members:
            await self._stop(self._members.pop())

    async def _stop(self, member: _Member) -> None:
        if member.stop is not None and not member.task.done():
            member.stop()
            await asyncio.wait({member.task}, timeout=member.bound)
        if not member.task.done():
            member.task.cancel()
            await asyncio.wait({member.task}, timeout=CANCEL_SECONDS)
        if not member.task.done():
            logger.error("task %s does not end; it is left behind", member.name)
        elif (error := _exception(member.task)) is not None:
            trace = None if isinstance(error, Foreseen) else error
            logger.error("task %s failed: %s", member.name, error, exc_info=trace)


def _exception(task: asyncio.Task[Any]) -> BaseException | None:
    """What a finished task failed with; a cancelled one has not failed."""
    return None if task.cancelled() else task.exception()
