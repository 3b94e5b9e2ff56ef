"""What lies in the store of one trial, and what of it may go: the reading half of retention."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

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
    """What retention needs of a manifest, which never changes."""

    nonce: str
    score: float | None


Manifests = Mapping[CheckpointRef, Known | None]
"""None: it cannot be read."""


@dataclass(frozen=True)
class Survey:
    """One LIST of manifests, and one of the data unless nothing of that can be garbage."""

    manifests: Manifests
    data: Mapping[DataRef, Sequence[Stored]] = field(default_factory=dict)

    def surplus(self, lineage: Lineage, keep: Keep) -> tuple[CheckpointRef, ...]:
        """Checkpoints that go; ``lineage`` is that of the time of the LIST."""
        readable = {ref: known.score for ref, known in self.manifests.items() if known is not None}
        return surplus(lineage, readable, self.manifests.keys() - readable.keys(), keep)

    def orphans(
        self, lineage: Lineage, gone: Collection[CheckpointRef], dropped: Collection[DataRef]
    ) -> frozenset[DataRef]:
        """Data that belongs to no checkpoint, when those of ``gone`` are gone."""
        nonces = {
            ref: known.nonce if known else None
            for ref, known in self.manifests.items()
            if ref not in gone
        }
        return orphans(lineage, self.data, nonces, dropped)

    def folder(self, ref: CheckpointRef) -> DataRef | None:
        """The data that a checkpoint names, if that can be read."""
        known = self.manifests.get(ref)
        return DataRef(ref, known.nonce) if known else None


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
            found[ref] = Known(manifest.nonce, objective_of(manifest.metrics, metric))
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
