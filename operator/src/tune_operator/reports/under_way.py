"""The requests that are being answered, and how a stop ends them: with an answer, within a bound.

aiohttp cannot be left to do it. It waits for a handler on a future that its own time-out cancels; a
handler that ends in that very turn of the loop sets the result of a cancelled future, and what the
trainer sees of that is a connection that breaks (`RequestHandler.shutdown`, aiohttp 3.14.5).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Stopping(Exception):
    """The request came, or was still under way, when the server had to end."""


class UnderWay:
    """Counts what is under way; after `end` there is none, and there will be none."""

    def __init__(self) -> None:
        self._deadlines: set[asyncio.Timeout] = set()
        self._ending = False
        self._none_left = asyncio.Event()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Around one request. Raises Stopping once `end` was called and its time is up."""
        if self._ending:
            raise Stopping
        deadline = asyncio.timeout(None)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Stopping from None
        finally:
            self._deadlines.discard(deadline)
            if not self._deadlines:
                self._none_left.set()

    async def end(self, seconds: float) -> None:
        """Lets in no other, and returns when the last one has ended; each has `seconds` for it."""
        self._ending = True
        self._none_left.clear()
        until = asyncio.get_running_loop().time() + seconds
        for deadline in self._deadlines:
            deadline.reschedule(until)
        if self._deadlines:
            await self._none_left.wait()
