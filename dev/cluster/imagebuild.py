"""Makes images with buildah, in a storage of our own, and keeps them in an OCI layout.

The layout lives in the cache: a second cluster only imports from it.
"""

import contextlib
import os
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

from . import debian, hostpip, images
from .binaries import MINIO, Binaries
from .commands import Commands
from .console import Console
from .errors import ClusterError
from .images import Image
from .locks import locked
from .ocilayout import Layout

TOOLS = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class ImageBuilder:
    """Images in the cache folder `images`: the layout, and buildah's storage beside it."""

    def __init__(self, cache: Path, commands: Commands, console: Console) -> None:
        self._cache = cache
        self._folder = cache / "images"
        self._commands = commands
        self._console = console
        self._binaries = Binaries(cache, commands, console)
        self.layout = Layout(self._folder / "oci")

    def ensure(self, wanted: list[Image]) -> dict[str, str]:
        """Make what is not in the cache; returns image name to reference in the layout.

        Raises:
            ClusterError: a build failed; names its log.
        """
        keys = images.keys(wanted)
        references = {image.name: _reference(image, keys[image.name]) for image in wanted}
        with locked(
            self._folder / "storage.lock",
            lambda: self._console.say("      another run makes images; waiting"),
        ):
            there = self.layout.manifests()
            for image in wanted:
                reference = references[image.name]
                if reference not in there:
                    self._make(image, reference, references[image.base] if image.base else None)
            for reference in self.layout.prune():
                self._forget(reference)
        return references

    def _make(self, image: Image, reference: str, base: str | None) -> None:
        log = self._cache / "logs" / f"image-{image.name.rpartition('/')[2].replace(':', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        with self._console.step(f"image {image.name}") as step:
            if image.generated:
                step.progress = "collecting its files"
                context = self._folder / f"{reference}.context"
                shutil.rmtree(context, ignore_errors=True)
                context.mkdir(parents=True)
                self._generate(image, context / "rootfs.tar", log)
            else:
                context = image.context
            step.progress = "building"
            self._build(image, reference, base, context, log)
            step.progress = "exporting"
            self._export(reference, log)
            step.progress = ""
            if image.generated:
                shutil.rmtree(context)

    def _buildah(self, log: Path, *arguments: str) -> str:
        storage = self._folder / "storage"
        options = [f"--root={storage / 'root'}", f"--runroot={storage / 'run'}"]
        command = ["buildah", *options, "--storage-driver=overlay", *arguments]
        return self._commands.run(command, log, environment={**os.environ, **TOOLS})

    def _build(
        self, image: Image, reference: str, base: str | None, context: Path, log: Path
    ) -> None:
        arguments = ["build", "--isolation=chroot", "--network=host", "--layers", "--pull-never"]
        if base:
            self._have_in_storage(base, log)
            arguments.append(f"--build-arg=BASE_IMAGE={_tag(base)}")
        if not image.generated:
            arguments += hostpip.build_volumes(self._folder)
            arguments += debian.build_volumes(self._folder)
        arguments += ["--tag", _tag(reference), "--file", str(image.dockerfile), str(context)]
        self._buildah(log, *arguments)

    def _have_in_storage(self, reference: str, log: Path) -> None:
        """A base comes back from the layout where buildah's storage was lost."""
        try:
            self._buildah(log, "inspect", "--type=image", _tag(reference))
        except ClusterError:
            source = f"oci:{self.layout.folder}:{reference}"
            image = self._buildah(log, "pull", "--quiet", source).split()[-1]
            self._buildah(log, "tag", image, _tag(reference))

    def _export(self, reference: str, log: Path) -> None:
        target = f"oci:{self.layout.folder}:{reference}"
        self._buildah(log, "push", "--quiet", "--format=oci", _tag(reference), target)

    def _forget(self, reference: str) -> None:
        with contextlib.suppress(ClusterError):  # a child may still need it
            self._buildah(self._cache / "logs" / "image-prune.log", "rmi", _tag(reference))

    def _generate(self, image: Image, target: Path, log: Path) -> None:
        if image in (images.PYTHON, images.DEBIAN):
            suite, *packages = image.recipe.split()
            debian.make_rootfs(suite, packages, target, log, self._commands)
        elif image is images.PAUSE:
            write_rootfs(target, {"bin/busybox": Path("/bin/busybox")})
        else:
            programs = self._binaries.ensure([MINIO])
            write_rootfs(target, {"usr/bin/minio": programs["minio"]})


def _reference(image: Image, key: str) -> str:
    """The name of one version of an image in the layout."""
    return f"{image.name.rpartition('/')[2].partition(':')[0]}.{key}"


def _tag(reference: str) -> str:
    """The name of one version of an image in buildah's storage."""
    return f"localhost/{reference}:dev"


def write_rootfs(target: Path, programs: dict[str, Path]) -> None:
    """A file system of static programs, with /tmp and /data for any user; always the same bytes."""
    with tarfile.open(target, "w") as archive:
        for folder, mode in (
            ("bin", 0o755),
            ("usr", 0o755),
            ("usr/bin", 0o755),
            ("tmp", 0o1777),
            ("data", 0o1777),
        ):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for name, source in programs.items():
            entry = tarfile.TarInfo(name)
            content = source.read_bytes()
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, BytesIO(content))
