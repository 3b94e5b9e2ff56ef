"""The manifest: the immutable document whose presence makes a checkpoint exist.

It is written last, with ``If-None-Match: *``. Its own SHA-256 and one per part of every file
let a reader prove that it loads exactly what was saved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_trainer.protocol import VERSION, fields
from tune_trainer.protocol.errors import ProtocolError
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.result import Result, results_from_json

PART_SIZE = 16 * 1024 * 1024
"""Bytes of one part; the last part of a file may be shorter."""


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
        path = fields.need(document, "path", str, where)
        if not path or path.startswith("/") or ".." in path.split("/") or "\\" in path:
            raise ProtocolError(f"{where}.path: {path!r} is no plain relative path")
        size = fields.whole(document, "size", where)
        part_size = fields.whole(document, "partSize", where, minimum=1)
        parts = fields.need(document, "sha256", list, where)
        if len(parts) != -(-size // part_size):
            raise ProtocolError(f"{where}.sha256: {len(parts)} parts do not make {size} bytes")
        return cls(path, size, part_size, tuple(str(part) for part in parts))


@dataclass(frozen=True)
class Manifest:
    """One checkpoint. ``kind`` says how ``load_checkpoint`` gets it: directory, path, json, pickle.

    ``relative`` is the path or prefix inside the directory for kind "path". ``progress`` is what
    the SDK must know to go on counting (iteration, times). ``results`` are those the operator had
    not acknowledged as durable at the time.
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

    def to_bytes(self) -> bytes:
        """The document with its own checksum; equal manifests give equal bytes."""
        body = self._body()
        return fields.dump({**body, "sha256": hashlib.sha256(fields.dump(body)).hexdigest()})

    def _body(self) -> dict[str, Any]:
        return {
            "version": VERSION,
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
        document = fields.load(data, "manifest")
        claimed = document.pop("sha256", None)
        if claimed != hashlib.sha256(fields.dump(document)).hexdigest():
            raise ProtocolError("manifest.sha256: does not match the content")
        what = "manifest"
        files = fields.need(document, "files", list, what)
        results = fields.need(document, "results", list, what)
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
        )
