"""Readiness probes of the servers, over HTTP."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

SECONDS = 2.0


def answers(url: str, ca: Path | None = None) -> Callable[[], bool]:
    """A probe that is true when `url` answers 200; never through the user's HTTP proxy.

    The status decides, not the body: the body of a failing /readyz contains "ok" as well.
    """

    def probe() -> bool:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if ca:
            if not ca.exists():
                return False
            context = ssl.create_default_context(cafile=str(ca))
            handlers.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(url, timeout=SECONDS) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError, ValueError):
            return False

    return probe
