"""The informer's memory: slim records of one scope, and the rules by which news changes it. Pure.

News comes from three sides: a LIST, watch events, and answers to our own writes, which may overtake
the watch or lag behind it. ResourceVersions of one kind are ordered integers (KEP-5504), so the
newer one wins. The store is complete up to `seen`: an object that was written at or before `seen`
and is not here has been deleted since. That is the tombstone; it needs no memory.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar


class Record(Protocol):
    """What a record must have: a frozen dataclass with these fields, compared by value.

    What is in no namespace or of no experiment has an empty one.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...
    @property
    def experiment_uid(self) -> str: ...


T = TypeVar("T", bound=Record)
Key = tuple[str, str]


class RecordStore(Generic[T]):
    """Every method that takes news returns the records to look at again.

    Those are the new records, and the last known ones of what was deleted. A record that differs
    in nothing but its resourceVersion is no news.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._records: dict[Key, T] = {}
        self._by_experiment: dict[str, dict[Key, T]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def get(self, namespace: str, name: str) -> T | None:
        """The record of this name."""
        return self._records.get((namespace, name))

    def all(self) -> tuple[T, ...]:
        """Every record."""
        return tuple(self._records.values())

    def of(self, experiment_uid: str) -> tuple[T, ...]:
        """All records of one experiment."""
        return tuple(self._by_experiment.get(experiment_uid, {}).values())

    def replace_all(self, records: Iterable[T], resource_version: str) -> list[T]:
        """Take in a whole LIST that was consistent at `resource_version`.

        What is missing in it was deleted, except what was written after the LIST was made.
        """
        listed_at = int(resource_version)
        listed = {_key(record): record for record in records}
        changed = [
            self._forget(key)
            for key, record in list(self._records.items())
            if key not in listed and _version(record) <= listed_at
        ]
        for record in listed.values():
            changed += self._take(record)
        self.seen = max(self.seen, listed_at)
        return changed

    def event(self, kind: str, record: T) -> list[T]:
        """Take in a watch event: ADDED, MODIFIED or DELETED."""
        self.bookmark(record.resource_version)
        if kind != "DELETED":
            return self._take(record)
        known = self._records.get(_key(record))
        # Another UID: the name was taken again, and our own write told us before the watch did.
        if known is None or known.uid != record.uid:
            return []
        return [self._forget(_key(record))]

    def bookmark(self, resource_version: str) -> None:
        """Everything up to `resource_version` has been told."""
        self.seen = max(self.seen, int(resource_version))

    def observe(self, record: T) -> list[T]:
        """Take in the answer to a write of our own, whether the watch has told of it or not."""
        if _key(record) not in self._records and _version(record) <= self.seen:
            return []  # told and deleted since: it must not come back to life
        return self._take(record)

    def _take(self, record: T) -> list[T]:
        key = _key(record)
        known = self._records.get(key)
        if known is not None and _version(record) <= _version(known):
            return []
        if known is None:
            self._keep(key, record)
            return [record]
        self._forget(key)
        self._keep(key, record)
        if known.uid != record.uid:
            return [known, record]
        same = replace(known, resource_version=record.resource_version) == record
        return [] if same else [record]

    def _keep(self, key: Key, record: T) -> None:
        self._records[key] = record
        self._by_experiment.setdefault(record.experiment_uid, {})[key] = record

    def _forget(self, key: Key) -> T:
        record = self._records.pop(key)
        of_experiment = self._by_experiment[record.experiment_uid]
        del of_experiment[key]
        if not of_experiment:
            del self._by_experiment[record.experiment_uid]
        return record


def _key(record: Record) -> Key:
    return (record.namespace, record.name)


def _version(record: Record) -> int:
    return int(record.resource_version)
