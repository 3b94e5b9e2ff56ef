"""The way from trainers to the operator that leads: one answer or three kinds of none."""

from __future__ import annotations

import json
import random
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from tune_trainer.protocol.messages import ErrorCode

WAIT = 409, 429, 500, 502, 503
ANSWER_SECONDS = 8.0
LOST_SHARE = 0.03


class NotNow(Exception):
    """No answer, or one that says: ask again."""


class Refused(Exception):
    """401: this Pod is not, or no longer, the attempt's. ``port`` is of the operator that says so.

    One that was frozen and has not noticed yet that it was replaced may still say otherwise.
    ``outdated``: the attempt was replaced. Else only the token is not valid any more, as that of
    any Pod a minute after its deletion, and the attempt may be the current one.
    """

    def __init__(self, body: bytes, port: int) -> None:
        super().__init__(body.decode())
        self.port = port
        self.outdated = json.loads(body)["error"]["code"] == ErrorCode.OUTDATED


@dataclass(frozen=True)
class Reply:
    """A 200, and which operator it is from."""

    body: bytes
    port: int


class Door:
    """``leader`` says on which port the operator listens that leads, None while nobody does."""

    def __init__(
        self, http: aiohttp.ClientSession, leader: Callable[[], int | None], chance: random.Random
    ) -> None:
        self._http = http
        self._leader = leader
        self._chance = chance
        self.context: ssl.SSLContext | None = None
        self.answers: Counter[str] = Counter()

    async def post(self, path: str, body: Mapping[str, Any], token: str) -> Reply:
        """The reply, if it is a 200; now and then an answer is lost on its way."""
        port = self._leader()
        if port is None or self.context is None:
            raise NotNow("nobody leads")
        try:
            async with self._http.post(
                f"https://127.0.0.1:{port}{path}",
                json=body,
                ssl=self.context,
                headers={"Authorization": f"Bearer {token}"},
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            ) as answer:
                data = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers["none"] += 1
            raise NotNow(repr(error)) from None
        self.answers[str(answer.status)] += 1
        if answer.status == 401:
            raise Refused(data, port)
        if answer.status in WAIT:
            raise NotNow(data.decode())
        if answer.status != 200:
            raise AssertionError(f"{path}: {answer.status} {data.decode()}")
        if self._chance.random() < LOST_SHARE:
            self.answers["lost"] += 1
            raise NotNow("lost on its way")
        return Reply(data, port)
