"""The container images of this project and of the cluster: what they are made of, their keys.

An image's key is a hash of all that goes in: Dockerfile, the files it copies, its base's key.
Whoever has the key has the image, so nothing is made or imported twice.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .binaries import MINIO
from .paths import HERE, REPOSITORY

# Never part of an image, whatever a Dockerfile copies.
SKIPPED = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


@dataclass(frozen=True)
class Image:
    """One image. `base` is the name of another image, given to the build as BASE_IMAGE."""

    name: str
    dockerfile: Path
    context: Path
    base: str | None = None
    recipe: str = ""  # what the files are made from, where the Dockerfile's context is generated
    imported: bool = True

    @property
    def generated(self) -> bool:
        return bool(self.recipe)


def _generated(name: str, recipe: str, *, imported: bool = True) -> Image:
    folder = HERE / "images"
    program = re.sub(r".*/|:.*", "", name)
    return Image(name, folder / f"{program}.Dockerfile", folder, None, recipe, imported)


# Bases, which no Pod runs. Their recipe is a suite of Debian and what it has beside its minimum.
PYTHON = _generated(
    "dev.local/python:3.11",
    "bookworm ca-certificates python3 python3-pip python3-venv",
    imported=False,
)
DEBIAN = _generated("dev.local/debian:13", "trixie ca-certificates", imported=False)
PAUSE = _generated("dev.local/pause:dev", "busybox")
STORE = _generated("dev.local/minio:dev", f"minio {MINIO.key()}")

IMAGES = (
    PYTHON,
    DEBIAN,
    PAUSE,
    Image(
        "dev.local/tune-trainer:dev",
        REPOSITORY / "trainer-image" / "Dockerfile",
        REPOSITORY / "trainer-image",
        PYTHON.name,
    ),
    Image(
        "dev.local/digits:dev",
        REPOSITORY / "examples" / "digits" / "Dockerfile",
        REPOSITORY / "examples" / "digits",
        "dev.local/tune-trainer:dev",
    ),
    Image(
        "dev.local/shell:dev",
        REPOSITORY / "examples" / "shell" / "Dockerfile",
        REPOSITORY / "examples" / "shell",
        DEBIAN.name,
    ),
    Image(
        "dev.local/tune-operator:dev",
        REPOSITORY / "operator" / "Dockerfile",
        REPOSITORY,
        PYTHON.name,
    ),
    STORE,
    Image(
        "dev.local/convnet:dev",
        REPOSITORY / "examples" / "convnet" / "Dockerfile",
        REPOSITORY,
        DEBIAN.name,
    ),
)


def buildable(images: tuple[Image, ...] = IMAGES) -> list[Image]:
    """The images whose Dockerfile, and whose base's, exists; a base before what needs it."""
    chosen: dict[str, Image] = {}
    for image in images:
        if image.dockerfile.exists() and (image.base is None or image.base in chosen):
            chosen[image.name] = image
    return list(chosen.values())


def keys(images: list[Image]) -> dict[str, str]:
    """Image name to key, for images in the order of `buildable`."""
    found: dict[str, str] = {}
    for image in images:
        found[image.name] = key(image, found[image.base] if image.base else "")
    return found


def key(image: Image, base_key: str) -> str:
    """The key of one image on a base with `base_key`."""
    state = hashlib.sha256(f"{image.name}\0{base_key}\0{image.recipe}\0".encode())
    text = image.dockerfile.read_text()
    state.update(text.encode())
    if not image.generated:
        for file in copied_files(text, image.context):
            mode = "x" if os.access(file, os.X_OK) else "-"
            state.update(f"\0{file.relative_to(image.context)}\0{mode}\0".encode())
            state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()[:16]


def copied_files(dockerfile: str, context: Path) -> list[Path]:
    """The files of the context that the Dockerfile's COPY and ADD lines name, sorted."""
    found: set[Path] = set()
    for source in copy_sources(dockerfile):
        for path in [context] if source in {".", "./"} else context.glob(source.strip("/")):
            found.update(_files(path))
    return sorted(found)


def copy_sources(dockerfile: str) -> list[str]:
    """The sources of all COPY and ADD instructions that read the context."""
    sources: list[str] = []
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0].upper() not in {"COPY", "ADD"}:
            continue
        if any(word.startswith("--from=") for word in words):
            continue
        sources += [word for word in words[1:-1] if not word.startswith("--")]
    return sources


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name not in SKIPPED]
        yield from (Path(folder) / name for name in names if not name.endswith(".pyc"))
