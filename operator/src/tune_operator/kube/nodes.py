"""What may be known of nodes: live for whatever fences, by a watch for whatever warns.

Both are optional. Nodes belong to the cluster, and an install that is confined to namespaces may
not be allowed to read them: that is an answer, not an error.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Forbidden, NotFound
from tune_operator.kube.informer import Informer
from tune_operator.kube.resources import NODES
from tune_operator.lifecycle.node_view import NodeKnowledge, NodeUnread, NodeView, project_node
from tune_operator.runtime.backoff import Backoff
from tune_operator.runtime.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

DENIED_SECONDS = 300.0
"""For so long a refusal is remembered: rights change seldom, lost Pods are looked at often."""

DENIED = Backoff(initial=1.0, maximum=DENIED_SECONDS, jitter=0.5)


@dataclass(frozen=True)
class NodeRecord(NodeView):
    """A node as the informer keeps it: in no namespace, and of no experiment."""

    uid: str = ""
    namespace: str = ""
    experiment_uid: str = ""


class Nodes:
    """Live reads, and while `run` runs a view of all nodes.

    on_change: gets the names of nodes of which a `NodeView` says something new; heartbeats do not.
    It is told once of all that came together, for the first list names every node there is. It
    must not block.
    """

    def __init__(
        self,
        kube: Kube,
        on_change: Callable[[Collection[str]], None],
        *,
        clock: Clock | None = None,
    ) -> None:
        self._kube = kube
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._informer = Informer(
            kube, NODES, (), "", _record, self._heard, denied=DENIED, clock=self._clock
        )
        self._news: set[str] = set()
        self._denied_until = float("-inf")

    async def run(self) -> None:
        """Follow all nodes for ever; while that is forbidden, ask again now and then."""
        await self._informer.run()

    def known(self, name: str) -> NodeView | None:
        """The node as the watch last told of it; None says nothing, least of all that it is gone.

        A little old, as every view is: good enough to warn, never to fence.
        """
        return self._informer.get("", name)

    async def look(self, name: str) -> NodeKnowledge:
        """The node as it is now; None if the object is gone. Raises KubeError when nobody can say.

        NOT_PERMITTED is remembered for a while, and no request is made meanwhile.
        """
        if self._clock.monotonic() < self._denied_until:
            return NodeUnread.NOT_PERMITTED
        try:
            return project_node(await self._kube.get(NODES, None, name))
        except NotFound:
            return None
        except Forbidden as error:
            self._denied_until = self._clock.monotonic() + DENIED_SECONDS
            logger.info("a lost node cannot be told from a slow one: %s", error)
            return NodeUnread.NOT_PERMITTED

    def _heard(self, record: NodeRecord) -> None:
        if not self._news:
            asyncio.get_running_loop().call_soon(self._tell)
        self._news.add(record.name)

    def _tell(self) -> None:
        news, self._news = self._news, set()
        self._on_change(news)


def _record(raw: Mapping[str, Any]) -> NodeRecord:
    view = project_node(raw)
    known = {field.name: getattr(view, field.name) for field in fields(NodeView)}
    return NodeRecord(**{**known, "uid": raw["metadata"]["uid"]})
