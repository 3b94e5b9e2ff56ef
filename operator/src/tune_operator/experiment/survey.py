"""What lies in the store of one trial, and what of it may go: the reading half of retention."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tune_operator.lifecycle.objective import objective_of
from tune_operator.lifecycle.retention import Keep, Lineage, orphans, surplus
from tune_operator.store.errors import NotFound
from tune_operator.store.object_store import PAGE, ObjectStore, Stored
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import (
    CheckpointRef,
    DataRef,
    TrialKeys,
    parse_data_key,
    parse_manifest_key,
)
from tune_trainer.protocol.manifest import Manifest


@dataclass(frozen=True)
class Known:
    """What retention needs of a manifest, which never changes: where its data lie, another trial's
    for a clone, and how good it is."""

    data: DataRef
    score: float | None


Manifests = Mapping[CheckpointRef, Known | None]
"""None: it cannot be read."""


@dataclass(frozen=True)
class Survey:
    """Of a trial: one LIST of manifests, and one of the data unless none of that can be garbage."""

    trial: str
    manifests: Manifests
    data: Mapping[DataRef, Sequence[Stored]] = field(default_factory=dict)

    def surplus(self, lineage: Lineage, keep: Keep) -> tuple[CheckpointRef, ...]:
        """Checkpoints that go; ``lineage`` is that of the time of the LIST."""
        readable = {ref: known.score for ref, known in self.manifests.items() if known is not None}
        return surplus(lineage, readable, self.unreadable, keep)

    @property
    def unreadable(self) -> frozenset[CheckpointRef]:
        """Checkpoints of which nobody here knows what they are."""
        return frozenset(ref for ref, known in self.manifests.items() if known is None)

    def without(self, gone: Collection[CheckpointRef]) -> Survey:
        """What is left when these checkpoints are gone."""
        left = {ref: known for ref, known in self.manifests.items() if ref not in gone}
        return replace(self, manifests=left)

    def names(self) -> frozenset[DataRef] | None:
        """All data that its checkpoints need; None where one of them cannot be read."""
        known = self.manifests.values()
        return None if None in known else frozenset(each.data for each in known if each)

    def orphans(
        self, lineage: Lineage, named: Collection[DataRef] | None, dropped: Collection[DataRef]
    ) -> frozenset[DataRef]:
        """Data that belongs to no checkpoint of the run, whose manifests name these."""
        return orphans(lineage, self.data, named, dropped)

    def own(self, refs: Iterable[CheckpointRef]) -> frozenset[DataRef]:
        """What these checkpoints of the trial have uploaded: a clone has nothing."""
        found = [(ref, self.manifests.get(ref)) for ref in refs]
        return frozenset(
            known.data
            for ref, known in found
            if known is not None and (known.data.trial, known.data.ref) == (self.trial, ref)
        )


async def read_manifests(
    store: ObjectStore, keys: TrialKeys, metric: str, known: Manifests
) -> dict[CheckpointRef, Known | None]:
    """All manifests of the trial; those ``known`` are not read again. Raises StoreError."""
    found: dict[CheckpointRef, Known | None] = {}
    for key in await store.list(keys.manifests()):
        ref = parse_manifest_key(key)
        if ref is None:
            continue
        if ref in known:
            found[ref] = known[ref]
            continue
        try:
            manifest = Manifest.from_bytes(await store.get(key))
        except NotFound:
            continue
        except ProtocolError:
            found[ref] = None
        else:
            data = manifest.origin or DataRef(keys.trial, ref, manifest.nonce)
            found[ref] = Known(data, objective_of(manifest.metrics, metric))
    return found


async def read_data(store: ObjectStore, keys: TrialKeys) -> dict[DataRef, list[Stored]]:
    """All data of the trial, by checkpoint. Raises StoreError."""
    found: dict[DataRef, list[Stored]] = {}
    after = ""
    while page := await store.page(keys.all_data(), after):
        for stored in page:
            folder = parse_data_key(keys, stored.key)
            if folder is not None:
                found.setdefault(folder, []).append(stored)
        after = page[-1].key
        if len(page) < PAGE:
            break
    return found
