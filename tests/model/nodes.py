"""Nodes: they run what was placed on them, whether anybody hears of it or not."""

from __future__ import annotations

from datetime import datetime

from tests.model.cluster import ApiServer
from tests.model.history import History
from tune_operator.kube.resources import NODES, PODS
from tune_operator.kube.transport import Object
from tune_operator.lifecycle import instants
from tune_operator.lifecycle.node_view import OUT_OF_SERVICE

NODE_NAMES = ("node-1", "node-2")


class Nodes:
    """The nodes of the cluster, as objects of its API server."""

    def __init__(self, server: ApiServer, history: History) -> None:
        self._server = server
        self._history = history
        for name in NODE_NAMES:
            self._make(name)

    def place(self, number: int) -> str:
        """A node for a Pod; empty if there is none that takes one."""
        fit = [name for name in NODE_NAMES if self._is_fit(name)]
        return fit[number % len(fit)] if fit else ""

    def reaches(self, pod: Object) -> bool:
        """The API server hears of the Pod, and its kubelet of what is wanted of it."""
        name = pod["spec"].get("nodeName", "")
        return bool(name) and not self.is_gone(name) and not self.is_silent(name)

    def loses(self, pod: Object) -> bool:
        """It runs, or ran, on a node that is there and silent."""
        return self.is_silent(pod["spec"].get("nodeName", ""))

    def is_gone(self, name: str) -> bool:
        """The object was deleted."""
        return bool(name) and _place(name) not in self._server.objects

    def is_silent(self, name: str) -> bool:
        """Its kubelet is not heard of."""
        node = self._server.objects.get(_place(name))
        return node is not None and node["status"]["conditions"][0]["status"] == "Unknown"

    def is_lost(self, name: str) -> bool:
        """Silent, and somebody vouches that the machine is off."""
        node = self._server.objects.get(_place(name), {})
        taints = [taint["key"] for taint in node.get("spec", {}).get("taints", [])]
        return self.is_silent(name) and OUT_OF_SERVICE in taints

    def turn(self, name: str, now: datetime) -> None:
        """It falls silent, or is heard again."""
        if self.is_gone(name):
            self._make(name)
        elif self.is_silent(name):
            self._ready(name, "True", now)
        else:
            self._ready(name, "Unknown", now)
            self._lose_sight(name)

    def take(self, name: str, how: int) -> None:
        """Cordon it; or delete a silent one, or taint it as out of service."""
        if self.is_gone(name):
            return
        if not self.is_silent(name):
            cordoned = how % 2 == 0
            self._edit(name, {"unschedulable": True} if cordoned else {})
        elif how % 2:
            self._server.remove(_place(name))
        else:
            self._edit(name, {"taints": [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]})

    def mend(self) -> None:
        """All are there, are heard and take Pods."""
        for name in NODE_NAMES:
            if self.is_gone(name):
                self._make(name)
            self._ready(name, "True", self._server.clocks.wall)
            self._edit(name, {})

    def _is_fit(self, name: str) -> bool:
        node = self._server.objects.get(_place(name))
        return node is not None and not node["spec"] and not self.is_silent(name)

    def _make(self, name: str) -> None:
        ready = {"type": "Ready", "status": "True"}
        body = {"metadata": {"name": name}, "spec": {}, "status": {"conditions": [ready]}}
        self._server.make(NODES, body)

    def _ready(self, name: str, status: str, now: datetime) -> None:
        since = instants.render(now)
        ready = {"type": "Ready", "status": status, "lastTransitionTime": since}
        known = self._server.objects[_place(name)]["status"]["conditions"][0]["status"]
        if known != status:
            self._server.change(_place(name), lambda obj: obj["status"].update(conditions=[ready]))

    def _edit(self, name: str, spec: Object) -> None:
        self._server.change(_place(name), lambda obj: obj.update(spec=spec))

    def _lose_sight(self, name: str) -> None:
        pods = [pod for pod in self._server.of(PODS) if pod["spec"].get("nodeName") == name]
        self._history.lost_sight |= {pod["metadata"]["uid"] for pod in pods}


def _place(name: str) -> tuple[str, str, str]:
    return NODES.plural, "", name
