"""Puts images into a running node's containerd."""

import json

from .commands import Commands
from .console import Console
from .errors import ClusterError
from .imagebuild import ImageBuilder
from .images import Image
from .node import PATH
from .paths import ClusterPaths, write_atomically


class NodeImages:
    """The images of one node; images.json remembers which version of each it has."""

    def __init__(self, paths: ClusterPaths, commands: Commands, console: Console) -> None:
        self._paths = paths
        self._commands = commands
        self._console = console
        self._log = paths.logs / "ctr.log"

    def _ctr(self, *arguments: str) -> str:
        socket = str(self._paths.containerd_socket)
        command = ["ctr", "--address", socket, "--namespace", "k8s.io", *arguments]
        return self._commands.run(command, self._log, environment=PATH)

    def load(self, builder: ImageBuilder, keys: dict[str, str], wanted: list[Image]) -> None:
        """Import the images that the node lacks or has in another version."""
        known = self._known()
        present = set(self._ctr("images", "list", "--quiet").split())
        for image in wanted:
            key = keys[image.name]
            if image.imported and (image.name not in present or known.get(image.name) != key):
                with self._console.step(f"import {image.name}"):
                    self._ctr("images", "import", str(builder.archive(key)))
                known[image.name] = key
                write_atomically(self._paths.images, json.dumps(known, indent=2))

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

