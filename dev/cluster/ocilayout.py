"""Finished images on disk, as an OCI image layout: each layer once, whoever uses it.

Written by buildah, read here. Format: the image-layout specification of the Open Container
Initiative, version 1.0.0.
"""

import contextlib
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from .paths import write_atomically

REFERENCE = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
KEPT_VERSIONS = 3


class Layout:
    """A layout folder. References are `<image>.<key>`, the oldest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Reference to manifest descriptor."""
        try:
            index = json.loads((self.folder / "index.json").read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            # buildah was killed while it wrote: everything can be made again.
            shutil.rmtree(self.folder)
            return {}
        return {entry["annotations"][REFERENCE]: entry for entry in index["manifests"]}

    def blobs(self, manifest: Mapping[str, Any]) -> list[str]:
        """Digests of all parts of an image: manifest, configuration, layers."""
        content = json.loads(self.blob(manifest["digest"]).read_text())
        layers = [layer["digest"] for layer in content["layers"]]
        return [manifest["digest"], content["config"]["digest"], *layers]

    def blob(self, digest: str) -> Path:
        """The file of a digest."""
        return self.folder / "blobs" / Path(*digest.split(":"))

    def stream(self, names: Mapping[str, str], present: Iterable[str], target: IO[bytes]) -> None:
        """Write a tar of the images `names` (name to reference) without the blobs in `present`."""
        manifests = self.manifests()
        chosen = [
            {**manifests[reference], "annotations": {CONTAINERD_NAME: name}}
            for name, reference in names.items()
        ]
        wanted = dict.fromkeys(digest for entry in chosen for digest in self.blobs(entry))
        with tarfile.open(fileobj=target, mode="w|") as archive:
            for digest in wanted.keys() - set(present):
                archive.add(self.blob(digest), f"blobs/{digest.replace(':', '/')}")
            index = {"schemaVersion": 2, "manifests": chosen}
            for name, value in (
                ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                ("index.json", index),
            ):
                content = json.dumps(value).encode()
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, BytesIO(content))

    def prune(self) -> list[str]:
        """Remove all but the newest versions of each image; returns the references removed."""
        manifests = self.manifests()
        groups: dict[str, list[str]] = {}
        for reference in manifests:
            groups.setdefault(reference.rpartition(".")[0], []).append(reference)
        old = [r for references in groups.values() for r in references[:-KEPT_VERSIONS]]
        if not old:
            return []
        kept = [entry for reference, entry in manifests.items() if reference not in old]
        text = json.dumps({"schemaVersion": 2, "manifests": kept})
        write_atomically(self.folder / "index.json", text)
        needed = {digest.partition(":")[2] for entry in kept for digest in self.blobs(entry)}
        for file in (self.folder / "blobs" / "sha256").iterdir():
            if file.name not in needed:
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()
        return old
