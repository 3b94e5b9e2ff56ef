"""Makes images with buildah, in a storage of our own, and keeps them as archives.

The archives live in the cache: a second cluster only imports them.
"""

import os
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

from . import binaries, debian, hostpip, images
from .commands import Commands
from .console import Console
from .errors import ClusterError
from .images import Image
from .locks import locked

TOOLS = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class ImageBuilder:
    """Images in the cache folder `images`: <key>.tar, and buildah's storage beside them."""

    def __init__(self, cache: Path, commands: Commands, console: Console) -> None:
        self._cache = cache
        self._folder = cache / "images"
        self._commands = commands
        self._console = console

    def archive(self, key: str) -> Path:
        """The archive of the image with this key."""
        return self._folder / f"{key}.tar"

    def ensure(self, wanted: list[Image]) -> dict[str, str]:
        """Make what is not in the cache; returns image name to key.

        Raises:
            ClusterError: a build failed; names its log.
        """
        keys = images.keys(wanted)
        if all(self.archive(key).exists() for key in keys.values()):
            return keys
        with locked(
            self._folder / "storage.lock",
            lambda: self._console.say("      another run makes images; waiting"),
        ):
            for image in wanted:
                if not self.archive(keys[image.name]).exists():
                    base = keys[image.base] if image.base else None
                    self._make(image, keys[image.name], base)
        return keys

    def _make(self, image: Image, key: str, base: str | None) -> None:
        log = self._cache / "logs" / f"image-{image.name.rpartition('/')[2].replace(':', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        with self._console.step(f"image {image.name}") as step:
            if image.generated:
                step.progress = "collecting its files"
                context = self._folder / f"{key}.context"
                shutil.rmtree(context, ignore_errors=True)
                context.mkdir(parents=True)
                self._generate(image, context / "rootfs.tar", log)
            else:
                context = image.context
            step.progress = "building"
            self._build(image, key, base, context, log)
            step.progress = "writing the archive"
            self._export(image, key, log)
            step.progress = ""
            if image.generated:
                shutil.rmtree(context)

    def _buildah(self, *arguments: str) -> list[str]:
        storage = self._folder / "storage"
        return [
            "buildah",
            f"--root={storage / 'root'}",
            f"--runroot={storage / 'run'}",
            "--storage-driver=overlay",
            *arguments,
        ]

    def _build(self, image: Image, key: str, base: str | None, context: Path, log: Path) -> None:
        arguments = ["build", "--isolation=chroot", "--network=host", "--layers", "--pull-never"]
        if base:
            self._have_in_storage(base, log)
            arguments.append(f"--build-arg=BASE_IMAGE={_tag(base)}")
        if not image.generated:
            arguments += hostpip.build_volumes(self._folder)
        arguments += ["--tag", _tag(key), "--file", str(image.dockerfile), str(context)]
        environment = {**os.environ, **TOOLS}
        self._commands.run(self._buildah(*arguments), log, environment=environment)

    def _have_in_storage(self, key: str, log: Path) -> None:
        """A base comes back from its archive where buildah's storage was lost."""
        environment = {**os.environ, **TOOLS}
        try:
            self._commands.run(self._buildah("inspect", "--type=image", _tag(key)), log, environment=environment)
        except ClusterError:
            loaded = self._buildah("pull", "--quiet", f"docker-archive:{self.archive(key)}")
            name = self._commands.run(loaded, log, environment=environment).split()[-1]
            self._commands.run(self._buildah("tag", name, _tag(key)), log, environment=environment)

    def _export(self, image: Image, key: str, log: Path) -> None:
        partial = self.archive(key).with_suffix(".new")
        partial.unlink(missing_ok=True)
        target = f"docker-archive:{partial}:{image.name}"
        environment = {**os.environ, **TOOLS}
        self._commands.run(
            self._buildah("push", "--quiet", _tag(key), target), log, environment=environment
        )
        partial.rename(self.archive(key))

    def _generate(self, image: Image, target: Path, log: Path) -> None:
        if image is images.PYTHON:
            debian.make_rootfs(target, log, self._commands)
        elif image is images.PAUSE:
            write_rootfs(target, {"bin/busybox": Path("/bin/busybox")})
        else:
            programs = binaries.ensure(self._cache, [binaries.MINIO], self._console)
            write_rootfs(target, {"usr/bin/minio": programs["minio"]})


def _tag(key: str) -> str:
    """The name of an image in buildah's storage, where several versions live side by side."""
    return f"localhost/{key}:dev"


def write_rootfs(target: Path, programs: dict[str, Path]) -> None:
    """A file system of static programs, with /tmp and /data for any user; always the same bytes."""
    with tarfile.open(target, "w") as archive:
        for folder, mode in (("bin", 0o755), ("usr", 0o755), ("usr/bin", 0o755), ("tmp", 0o1777), ("data", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for name, source in programs.items():
            entry = tarfile.TarInfo(name)
            content = source.read_bytes()
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, BytesIO(content))
