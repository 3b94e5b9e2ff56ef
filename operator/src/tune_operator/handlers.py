"""Kopf as an event source for experiments, and nothing else: it writes no object of ours.

Only a raw event handler is registered, so Kopf adds no finalizer and no annotation (GitOps sees no
difference), and all logic stays in the reconciler. It runs in a thread with a loop of its own:
when it stops, Kopf cancels every task it did not know at its start, and those would be ours.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf

from tune_operator.api.constants import GROUP, PLURAL, VERSION
from tune_operator.runtime.own_thread import in_own_thread

Observe = Callable[[str | None, Mapping[str, Any]], None]
"""Takes the event's type (None in the first listing) and the raw object."""

CLOSING_SECONDS = 0.1
"""aiohttp closes its transports in the background; a loop that ends at once leaves them open."""


async def follow(observe: Observe, namespaces: Sequence[str], stop: threading.Event) -> None:
    """Hand every event of an experiment to ``observe`` in this loop, until ``stop`` is set.

    Empty namespaces mean all. Raises what Kopf failed with.
    """
    loop = asyncio.get_running_loop()

    def hand_over(kind: str | None, obj: Mapping[str, Any]) -> None:
        loop.call_soon_threadsafe(observe, kind, obj)

    await in_own_thread(
        lambda: asyncio.run(_operate(_registry(hand_over), namespaces, stop)), "kopf"
    )


async def _operate(
    registry: kopf.OperatorRegistry, namespaces: Sequence[str], stop: threading.Event
) -> None:
    await kopf.operator(
        registry=registry,
        standalone=True,
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        stop_flag=stop,
        # Kopf would ask for the user's name to make one up, and a number in a container has none.
        identity="tune-operator",  # type: ignore[arg-type]  # a str, of a type Kopf keeps private
    )
    await asyncio.sleep(CLOSING_SECONDS)


def _registry(observe: Observe) -> kopf.OperatorRegistry:
    handlers = kopf.OperatorRegistry()

    @kopf.on.startup(registry=handlers)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True
        settings.posting.enabled = False
        # Kopf gives up after the last one, and with it the process: outlast ten minutes (P15).
        settings.networking.error_backoffs = [1, 2, 5, 10, 20, *[30] * 40]

    @kopf.on.login(registry=handlers)
    def login(**of: Any) -> kopf.ConnectionInfo | None:
        # An own registry has no login handler; without one Kopf fails after it said ready.
        return kopf.login_with_service_account(**of) or kopf.login_with_kubeconfig(**of)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    def event(event: Mapping[str, Any], **_: Any) -> None:
        observe(event["type"], event["object"])

    return handlers
