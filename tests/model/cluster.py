"""A small cluster: an API server with the rules that races are made of, a bucket, nodes.

Every write of an operator is shown to the history, which holds the promises against it. Objects
are raw, as on the wire, and never changed in place: what was read once stays as it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.model.history import History, attempt_of
from tune_operator.api import constants
from tune_operator.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from tune_operator.kube.resources import PODS, SECRETS, Resource
from tune_operator.kube.transport import Object, Request
from tune_operator.lifecycle import instants
from tune_operator.store import errors as store_errors

Place = tuple[str, str, str]
"""(plural, namespace, name) of an object."""


@dataclass
class Clocks:
    """What time it is: ``wall`` may jump, ``elapsed`` only grows.

    ``ahead`` is by how much any operator's clock was ever ahead of the others'.
    """

    wall: datetime = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    elapsed: float = 0.0
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """The wall clock."""
        return self.wall

    @property
    def latest(self) -> datetime:
        """What time it may be for an operator."""
        return self.wall + self.ahead

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.elapsed

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.elapsed += seconds
        self.wall += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Event:
    """What a watch tells of one write."""

    version: int
    plural: str
    type: str
    obj: Object


@dataclass
class ApiServer:
    """Objects, their versions and the log of all writes.

    ``released`` are UIDs of Pods whose kubelet agreed that they may go. ``quota`` and ``policy``
    refuse every new Pod.
    """

    history: History
    clocks: Clocks
    objects: dict[Place, Object] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    version: int = 1
    born: int = 0
    released: set[str] = field(default_factory=set)
    quota: bool = False
    policy: bool = False

    # --- requests -----------------------------------------------------------------------------

    def handle(self, request: Request, who: str) -> Object:
        """One request of an operator. Raises KubeErrors as the API server means them."""
        place = (request.kind.plural, request.namespace or "", request.name or "")
        match request.verb:
            case "get":
                return self._get(place)
            case "list":
                return self._list(request.kind)
            case "create":
                return self._create(request)
            case "update":
                return self._replace_status(place, request.body)
            case "patch":
                return self._patch(place, request.body, who)
            case "delete":
                return self._delete(place, request.body, who)
        raise AssertionError(f"{request.verb} is not modelled")

    def next_event(self, kind: Resource, after: int) -> Event | None:
        """The first one after this version that a watch of the kind would be told."""
        # Versions count writes from 1: the log's index follows from the version.
        for event in self.log[max(0, after - 1) :]:
            if event.plural == kind.plural and _selected(event.obj, kind):
                return event
        return None

    def _get(self, place: Place) -> Object:
        if place[0] == SECRETS.plural:
            return {"data": {}}
        try:
            return self.objects[place]
        except KeyError:
            raise NotFound(f"{place} not found") from None

    def _list(self, kind: Resource) -> Object:
        items = [
            obj
            for place, obj in sorted(self.objects.items())
            if place[0] == kind.plural and _selected(obj, kind)
        ]
        return {"items": items, "metadata": {"resourceVersion": str(self.version)}}

    def _create(self, request: Request) -> Object:
        body = request.body
        place = (request.kind.plural, request.namespace or "", body["metadata"]["name"])
        if (request.query or {}).get("dryRun"):
            return self._admit(body)
        if place in self.objects:
            raise AlreadyExists(f"{place} exists")
        self._admit(body)
        self.history.pod_created(body)
        made = self.make(request.kind, body)
        self.history.uids[made["metadata"]["uid"]] = attempt_of(made)
        return made

    def _admit(self, body: Object) -> Object:
        if self.quota:
            raise Forbidden("exceeded quota: trainers")
        if self.policy:
            raise Forbidden("no such Pods here")
        return body

    def _replace_status(self, place: Place, body: Object) -> Object:
        known = self._get(place)
        for name in ("uid", "resourceVersion"):
            # Without a version a write is unconditional.
            if body["metadata"].get(name, known["metadata"][name]) != known["metadata"][name]:
                raise Conflict(f"{place}: {name} is {known['metadata'][name]}")
        status = _copy(body.get("status") or {})
        if status == known.get("status"):
            return known
        self.history.status_written(known, status)
        return self.change(place, lambda obj: obj.update(status=status))

    def _patch(self, place: Place, patch: list[Object], who: str) -> Object:
        known = self._get(place)
        changed = _copy(known)
        for step in patch:
            _apply(changed, step)
        self.history.touched(known, f"{who} patches")
        return self._keep(place, changed)

    def _delete(self, place: Place, options: Object, who: str) -> Object:
        known = self._get(place)
        if options["preconditions"]["uid"] != known["metadata"]["uid"]:
            raise Conflict(f"{place} has another UID")
        self.history.touched(known, f"{who} deletes")
        return self.delete(place)

    # --- what others write ----------------------------------------------------------------------

    def make(self, kind: Resource, body: Mapping[str, Any]) -> Object:
        """A new object."""
        self.born += 1
        obj = _copy(body)
        meta = obj["metadata"]
        meta.setdefault("uid", f"{kind.kind.lower()}-{self.born}")
        meta["creationTimestamp"] = instants.render(self.clocks.wall)
        obj.setdefault("status", {"phase": "Pending"} if kind is PODS else {})
        return self._keep((kind.plural, meta.get("namespace", ""), meta["name"]), obj)

    def change(self, place: Place, edit: Callable[[Object], Any]) -> Object:
        """A write of whoever may; one that changes nothing makes no new version."""
        known = self.objects[place]
        obj = _copy(known)
        edit(obj)
        return known if obj == known else self._keep(place, obj)

    def delete(self, place: Place) -> Object:
        """DELETE with grace; again it changes nothing."""
        known = self.objects[place]
        if known["metadata"].get("deletionTimestamp"):
            return known
        grace = known.get("spec", {}).get("terminationGracePeriodSeconds", 0)
        if place[0] != PODS.plural or not _runs(known):
            grace = 0
        at = self.clocks.wall + timedelta(seconds=grace)
        return self.change(
            place, lambda obj: obj["metadata"].update(deletionTimestamp=instants.render(at))
        )

    def remove(self, place: Place) -> None:
        """Gone at once, whoever held it."""
        self._remove(place, self.objects[place])

    def let_go(self, place: Place) -> None:
        """The kubelet has nothing left of this Pod, or somebody says so by force."""
        known = self.objects[place]
        self.released.add(known["metadata"]["uid"])
        if self._is_free(place, known):
            self._remove(place, known)

    def of(self, kind: Resource) -> list[Object]:
        """All objects of a kind, by name."""
        return [obj for place, obj in sorted(self.objects.items()) if place[0] == kind.plural]

    def by_uid(self, uid: str) -> Object | None:
        """The Pod of this UID, if the object still exists."""
        pods = self.of(PODS)
        return next((pod for pod in pods if pod["metadata"]["uid"] == uid), None)

    def _keep(self, place: Place, obj: Object) -> Object:
        if self._is_free(place, obj):
            return self._remove(place, obj)
        known = place in self.objects
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.objects[place] = obj
        self._tell("MODIFIED" if known else "ADDED", place, obj)
        return obj

    def _is_free(self, place: Place, obj: Object) -> bool:
        meta = obj["metadata"]
        if not meta.get("deletionTimestamp") or meta.get("finalizers"):
            return False
        return place[0] != PODS.plural or meta["uid"] in self.released or not _runs(obj)

    def _remove(self, place: Place, obj: Object) -> Object:
        self.version += 1
        last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects.pop(place, None)
        self._tell("DELETED", place, last)
        return last

    def _tell(self, kind: str, place: Place, obj: Object) -> None:
        self.log.append(Event(self.version, place[0], kind, obj))


@dataclass
class Bucket:
    """Whole objects; ``up`` False means that nobody gets an answer."""

    history: History
    objects: dict[str, bytes] = field(default_factory=dict)
    up: bool = True
    writes: int = 0

    def get(self, key: str) -> bytes:
        """The object's bytes."""
        self._answer()
        try:
            return self.objects[key]
        except KeyError:
            raise store_errors.NotFound(key) from None

    def put(self, key: str, data: bytes, who: str) -> None:
        """Write, replacing what was there."""
        self._answer()
        self._write(key, data, who)

    def put_if_absent(self, key: str, data: bytes, who: str) -> bool:
        """Write unless there is something; whether the key holds these bytes now."""
        self._answer()
        if key not in self.objects:
            self._write(key, data, who)
        return self.objects[key] == data

    def list(self, prefix: str, after: str = "") -> list[str]:
        """All keys that start with the prefix, in order."""
        self._answer()
        return sorted(key for key in self.objects if key.startswith(prefix) and key > after)

    def delete(self, keys: Sequence[str], listed: Mapping[str, int]) -> None:
        """Remove what is there. ``listed`` is when which prefix was listed by whoever deletes."""
        self._answer()
        for key in keys:
            if key in self.objects:
                self.history.retention.deleted(key, listed)
                del self.objects[key]

    def _write(self, key: str, data: bytes, who: str) -> None:
        self.history.stored(key, self.objects.get(key), data)
        self.writes += 1
        self.objects[key] = data

    def _answer(self) -> None:
        if not self.up:
            raise store_errors.Unreachable("the store does not answer")


def _copy(value: Any) -> Any:
    """A copy of JSON, several times faster than deepcopy."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _selected(obj: Object, kind: Resource) -> bool:
    """Operators follow only Pods with the label of an experiment."""
    labels = obj["metadata"].get("labels") or {}
    return kind.plural != PODS.plural or constants.LABEL_EXPERIMENT_UID in labels


def _runs(pod: Object) -> bool:
    """A kubelet has something to end."""
    placed = bool(pod["spec"].get("nodeName"))
    return placed and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _apply(obj: Object, step: Object) -> None:
    """One operation of a JSON patch below /metadata. Raises Invalid as a failed test does."""
    *parents, last = step["path"].strip("/").split("/")
    target: Any = obj
    for name in parents:
        target = target[int(name)] if isinstance(target, list) else target.get(name, [])
    at = int(last) if isinstance(target, list) and last.isdecimal() else last
    match step["op"]:
        case "test":
            known = target[at] if isinstance(target, dict) or at < len(target) else None
            if known != step["value"]:
                raise Invalid(f"test of {step['path']} failed")
        case "add" if at == "-":
            target.append(step["value"])
        case "add":
            target[at] = step["value"]
        case "remove":
            del target[at]
