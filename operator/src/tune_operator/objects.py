"""The experiments as last seen: filled by Kopf's events, read by the reconciler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tune_operator.api.constants import GROUP, KIND, VERSION
from tune_operator.experiment.run import Key


class Objects(dict[Key, Mapping[str, Any]]):
    """Raw objects by (namespace, name); of two versions the newer one stays."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        super().__init__()
        self._wake = wake

    def learn(self, obj: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take in the answer to a request of our own; returns the newest version known.

        The watch may have overtaken it: a deletion that came in between must not be forgotten.
        """
        known = self.get(_key(obj))
        if known is None or _newer(obj["metadata"], known["metadata"]):
            self[_key(obj)] = obj
            return obj
        return known

    def observe(self, event: str | None, obj: Mapping[str, Any]) -> None:
        """Take in a watch event; an older version than the known one changes nothing.

        Our own status writes are known before Kopf tells of them, and deciding again from the
        older version would only end in a conflict. Versions of one object compare as numbers
        (KEP-5504); a new UID is a new object.
        """
        if event == "DELETED":
            self.forget(obj)
        else:
            # Items of a listing carry no type, and events need one.
            self.learn({"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, **obj})
        self._wake(_key(obj))

    def forget(self, obj: Mapping[str, Any]) -> None:
        """This very object does not exist any more; one made anew under its name stays."""
        known = self.get(_key(obj))
        if known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]:
            del self[_key(obj)]


def _key(obj: Mapping[str, Any]) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _newer(meta: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    if meta["uid"] != known["uid"]:
        return True
    return int(meta["resourceVersion"]) >= int(known["resourceVersion"])
