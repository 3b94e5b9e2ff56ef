"""Puts images into a running node's containerd."""

import contextlib
import json
import os
import subprocess
import threading

from .commands import Commands
from .console import Console
from .errors import ClusterError
from .images import Image
from .node import PATH
from .ocilayout import Layout
from .paths import ClusterPaths, write_atomically


class NodeImages:
    """The images of one node; images.json remembers which version of each it has."""

    def __init__(self, paths: ClusterPaths, commands: Commands, console: Console) -> None:
        self._paths = paths
        self._commands = commands
        self._console = console
        self._log = paths.logs / "ctr.log"

    def _ctr(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> str:
        socket = str(self._paths.containerd_socket)
        command = ["ctr", "--address", socket, "--namespace", "k8s.io", *arguments]
        return self._commands.run(command, self._log, environment=PATH, stdin=stdin)

    def load(self, layout: Layout, references: dict[str, str], wanted: list[Image]) -> None:
        """Import the images that the node lacks or has in another version."""
        known = self._known()
        present = set(self._ctr("images", "list", "--quiet").split())
        new = {
            image.name: references[image.name]
            for image in wanted
            if image.imported
            and (image.name not in present or known.get(image.name) != references[image.name])
        }
        if new:
            short = " ".join(name.rpartition("/")[2] for name in new)
            with self._console.step(f"import {short}"):
                self._import(layout, new)
            write_atomically(self._paths.images, json.dumps({**known, **new}, indent=2))

    def _import(self, layout: Layout, names: dict[str, str]) -> None:
        """Stream the images into containerd, without the layers it has."""
        present = self._ctr("content", "list", "--quiet").split()
        read, write = os.pipe()

        def send() -> None:
            # ctr's own error is the one to show when it stops reading.
            with contextlib.suppress(BrokenPipeError), open(write, "wb") as target:  # noqa: PTH123
                layout.stream(names, present, target)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            self._ctr("images", "import", "-", stdin=read)
        finally:
            os.close(read)
            sender.join()

    def _known(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._paths.images.read_text()))
        except (OSError, ValueError):
            return {}


def answers(paths: ClusterPaths) -> bool:
    """Whether containerd serves, pause image or not."""
    socket = paths.containerd_socket
    if not socket.exists():
        return False
    log = paths.logs / "ctr.log"
    try:
        Commands().run(["ctr", "--address", str(socket), "version"], log, environment=PATH)
    except ClusterError:
        return False
    return True
