"""Requests to the operator: HTTPS with its own authority, the Pod's token, typed answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import urllib3
from urllib3.exceptions import HTTPError

from tune_trainer.protocol import fields

TIMEOUT = urllib3.Timeout(connect=5.0, read=15.0)


class Outdated(Exception):
    """401: this Pod is not, or no longer, the one of the attempt."""


class NotNow(Exception):
    """Unreachable, not bound yet, busy: ask again, after ``retry_after`` seconds if it is set."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Exception):
    """400 or 413: the request will not be taken however often it is sent."""


class Operator(Protocol):
    """Whoever answers a trainer's requests."""

    def post(self, path: str, document: Mapping[str, object]) -> bytes:
        """Body of a 200; raises Outdated, NotNow or Refused."""


class OperatorClient:
    """Posts JSON to one operator. Safe to use from several threads."""

    def __init__(self, url: str, ca: str, token_file: Path) -> None:
        """``ca`` is PEM text. The token is read for each request: the kubelet renews the file."""
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._pool = urllib3.PoolManager(
            num_pools=1, maxsize=2, timeout=TIMEOUT, retries=False,
            cert_reqs="CERT_REQUIRED", ca_cert_data=ca,
        )  # fmt: skip

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def post(self, path: str, document: Mapping[str, object]) -> bytes:
        """Body of a 200; raises Outdated, NotNow or Refused."""
        body = fields.dump(document)
        try:
            token = self._token_file.read_text().strip()
            response = self._pool.request(
                "POST", self._url + path, body=body, redirect=False,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            raise NotNow(f"the operator is unreachable: {_reason(error)}") from None
        match response.status:
            case 200:
                return response.data
            case 401:
                raise Outdated(_message(response.data))
            case 400 | 413:
                raise Refused(f"HTTP {response.status}: {_message(response.data)}")
            case _:
                raise NotNow(
                    f"HTTP {response.status}: {_message(response.data)}",
                    _seconds(response.headers.get("Retry-After", "")),
                )


def _message(body: bytes) -> str:
    """The text of an error answer, as far as there is one."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
