"""The experiments as last seen: filled by Kopf's events, read by the reconciler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tune_operator.api.constants import GROUP, KIND, VERSION
from tune_operator.experiment.run import Key


class Objects(dict[Key, Mapping[str, Any]]):
    """Raw objects by (namespace, name)."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        super().__init__()
        self._wake = wake

    def observe(self, event: str | None, obj: Mapping[str, Any]) -> None:
        """Take in a watch event; an older version than the known one changes nothing.

        Our own status writes are known before Kopf tells of them, and deciding again from the
        older version would only end in a conflict. Versions of one object compare as numbers
        (KEP-5504); a new UID is a new object.
        """
        meta = obj["metadata"]
        key = (meta["namespace"], meta["name"])
        known = self.get(key)
        if event == "DELETED":
            if known is None or known["metadata"]["uid"] == meta["uid"]:
                self.pop(key, None)
        elif known is None or _newer(meta, known["metadata"]):
            # Items of a listing carry no type, and events need one.
            self[key] = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, **obj}
        self._wake(key)


def _newer(meta: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    if meta["uid"] != known["uid"]:
        return True
    return int(meta["resourceVersion"]) >= int(known["resourceVersion"])
