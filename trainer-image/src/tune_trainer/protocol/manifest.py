"""The manifest: the immutable document whose presence makes a checkpoint exist.

It is written last, with ``If-None-Match: *``. Its own SHA-256 and one per part of every file
let a reader prove that it loads exactly what was saved.

Version 1 has one object per file. Version 2 adds ``packs``, objects that hold many small files (see
``pack``). Version 3 adds ``origin``: the checkpoint is a clone, and its data are another's. A
manifest is written in the oldest version that can say it, so that an older reader refuses only what
it would load in part, or look for in the wrong place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tune_trainer.protocol import VERSION, fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import TRIAL_WIDTH, CheckpointRef, DataRef
from tune_trainer.protocol.result import Result, results_from_json

PART_SIZE = 16 * 1024 * 1024
"""Bytes of one part; the last part of a file may be shorter."""

WITH_PACKS = 2
WITH_ORIGIN = 3
LARGEST = 16 * 1024 * 1024
"""Bytes of a manifest, which readers hold in memory: about 200,000 parts."""


@dataclass(frozen=True)
class FileEntry:
    """One data file. ``path`` is relative with forward slashes; ``parts`` are SHA-256 in hex."""

    path: str
    size: int
    part_size: int
    parts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "size": self.size,
            "partSize": self.part_size,
            "sha256": list(self.parts),
        }

    @classmethod
    def from_json(cls, document: Any, where: str) -> FileEntry:
        """Raises ProtocolError, also for a path that leaves the checkpoint's directory."""
        if not isinstance(document, Mapping):
            raise ProtocolError(f"{where}: expected an object")
        path = fields.plain_path(fields.need(document, "path", str, where), where)
        size = fields.whole(document, "size", where, maximum=fields.LARGEST_SIZE)
        part_size = fields.whole(
            document, "partSize", where, minimum=1, maximum=fields.LARGEST_SIZE
        )
        parts = fields.need(document, "sha256", list, where)
        if len(parts) != -(-size // part_size):
            raise ProtocolError(f"{where}.sha256: {len(parts)} parts do not make {size} bytes")
        return cls(path, size, part_size, tuple(str(part) for part in parts))


@dataclass(frozen=True)
class Pack:
    """An object beside the data files that holds many small ones; read as a whole."""

    name: str
    size: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "size": self.size, "sha256": self.sha256}

    @classmethod
    def from_json(cls, document: Any, where: str) -> Pack:
        """Raises ProtocolError."""
        if not isinstance(document, Mapping):
            raise ProtocolError(f"{where}: expected an object")
        return cls(
            fields.plain_path(fields.need(document, "name", str, where), where),
            fields.whole(document, "size", where),
            fields.need(document, "sha256", str, where),
        )


@dataclass(frozen=True)
class Manifest:
    """One checkpoint. ``kind`` says how ``load_checkpoint`` gets it: directory, path, json, pickle.

    ``relative`` is the path or prefix inside the directory for kind "path". ``progress`` is what
    the SDK must know to go on counting (iteration, times). ``results`` are those the operator had
    not acknowledged as durable at the time. ``origin`` is where the data of a clone lie, in the
    same run: always what was uploaded, never another clone.
    """

    experiment: str
    trial: str
    ref: CheckpointRef
    nonce: str
    time: str
    kind: str
    relative: str
    metrics: Mapping[str, Any]
    progress: Mapping[str, Any]
    files: tuple[FileEntry, ...]
    results: tuple[Result, ...] = ()
    packs: tuple[Pack, ...] = ()
    origin: DataRef | None = None

    @property
    def data(self) -> DataRef:
        """Where its files lie."""
        return self.origin or DataRef(self.trial, self.ref, self.nonce)

    def clone(self, trial: str, ref: CheckpointRef, nonce: str) -> Manifest:
        """The same checkpoint, as one of another trial: its data stay where they are, and its
        results are told by the trial that had them.

        The same arguments give the same bytes, so that a PUT can be repeated.
        """
        return replace(self, trial=trial, ref=ref, nonce=nonce, results=(), origin=self.data)

    def to_bytes(self) -> bytes:
        """The document with its own checksum; equal manifests give equal bytes.

        Raises ValueError for one that readers would refuse for its size.
        """
        body = self._body()
        data = fields.dump({**body, "sha256": hashlib.sha256(fields.dump(body)).hexdigest()})
        if len(data) > LARGEST:
            raise ValueError(
                f"the checkpoint has {len(self.files)} files of 1 MiB or more, or too much in "
                f"them, to be listed in {LARGEST} bytes"
            )
        return data

    def _body(self) -> dict[str, Any]:
        packs = {"packs": [pack.to_json() for pack in self.packs]} if self.packs else {}
        origin = {"origin": _origin_json(self.origin)} if self.origin else {}
        return {
            **packs,
            **origin,
            "version": WITH_ORIGIN if origin else WITH_PACKS if packs else VERSION,
            "experiment": self.experiment,
            "trial": self.trial,
            "attempt": self.ref.attempt,
            "iteration": self.ref.iteration,
            "nonce": self.nonce,
            "time": self.time,
            "kind": self.kind,
            "relative": self.relative,
            "result": Result(1, self.metrics).to_json(),
            "progress": dict(self.progress),
            "files": [file.to_json() for file in self.files],
            "results": [result.to_json() for result in self.results],
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Raises ProtocolError when torn, altered or of another version."""
        if len(data) > LARGEST:
            raise ProtocolError(f"manifest: has more than {LARGEST} bytes")
        document = fields.load(data, "manifest", (VERSION, WITH_PACKS, WITH_ORIGIN))
        claimed = document.pop("sha256", None)
        if claimed != hashlib.sha256(fields.dump(document)).hexdigest():
            raise ProtocolError("manifest.sha256: does not match the content")
        what = "manifest"
        files = fields.need(document, "files", list, what)
        results = fields.need(document, "results", list, what)
        packs = fields.need(document, "packs", list, what) if "packs" in document else []
        return cls(
            experiment=fields.need(document, "experiment", str, what),
            trial=fields.need(document, "trial", str, what),
            ref=CheckpointRef(
                fields.whole(document, "attempt", what, minimum=1),
                fields.whole(document, "iteration", what),
            ),
            nonce=fields.need(document, "nonce", str, what),
            time=fields.need(document, "time", str, what),
            kind=fields.need(document, "kind", str, what),
            relative=fields.need(document, "relative", str, what),
            metrics=Result.from_json(document.get("result"), f"{what}.result").metrics,
            progress=fields.need(document, "progress", dict, what),
            files=tuple(
                FileEntry.from_json(entry, f"{what}.files[{i}]") for i, entry in enumerate(files)
            ),
            results=results_from_json(results, f"{what}.results"),
            packs=tuple(
                Pack.from_json(entry, f"{what}.packs[{i}]") for i, entry in enumerate(packs)
            ),
            origin=_origin(document["origin"], f"{what}.origin") if "origin" in document else None,
        )


def _origin_json(data: DataRef) -> dict[str, Any]:
    return {
        "trial": data.trial,
        "attempt": data.ref.attempt,
        "iteration": data.ref.iteration,
        "nonce": data.nonce,
    }


def _origin(document: Any, where: str) -> DataRef:
    """Raises ProtocolError, also for one that leaves the run."""
    if not isinstance(document, Mapping):
        raise ProtocolError(f"{where}: expected an object")
    trial = fields.need(document, "trial", str, where)
    if not (trial.isascii() and trial.isdecimal() and len(trial) == TRIAL_WIDTH):
        raise ProtocolError(f"{where}.trial: {trial[:40]!r} is the name of no trial")
    nonce = fields.need(document, "nonce", str, where)
    if not nonce or "/" in nonce:
        raise ProtocolError(f"{where}.nonce: {nonce[:40]!r} is no part of a key")
    ref = CheckpointRef(
        fields.whole(document, "attempt", where, minimum=1),
        fields.whole(document, "iteration", where),
    )
    return DataRef(trial, ref, nonce)
