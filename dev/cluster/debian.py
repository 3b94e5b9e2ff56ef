"""The root file system of the Python base image, out of the host's own Debian sources."""

import re
import subprocess
from pathlib import Path

from .commands import Commands
from .errors import ClusterError
from .images import PYTHON_PACKAGES, PYTHON_SUITE

# pip may install into this system, as it may in Docker's python images; `python` is Python.
HOOKS = (
    'rm -f "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED',
    'ln -s python3 "$1"/usr/bin/python',
    'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*',
)
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def entries(text: str) -> list[tuple[str, str]]:
    """(URI, suite) pairs in an apt source file, in either of apt's formats."""
    if not re.search(r"^URIs:", text, re.MULTILINE):
        lines = re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE)
        return [(uri, suite) for uri, suite in lines]
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
            uris, suites = fields.get("URIs", "").split(), fields.get("Suites", "").split()
            found += [(uri, suite) for uri in uris for suite in suites]
    return found


def mirrors(pairs: list[tuple[str, str]]) -> list[str]:
    """Source lines for our suite from the host's archives; empty: mmdebstrap's own default.

    An archive carries all suites, so the host's release does not matter.
    """
    debian = [(uri.rstrip("/"), suite) for uri, suite in pairs if "debian" in uri]
    main = next((uri for uri, suite in debian if re.fullmatch(r"[a-z]+", suite)), None)
    security = next((uri for uri, suite in debian if suite.endswith("-security")), None)
    lines = [f"deb {main} {PYTHON_SUITE} main"] if main else []
    if main and security:
        lines.append(f"deb {security} {PYTHON_SUITE}-security main")
    return lines


def host_mirrors(apt: Path = Path("/etc/apt")) -> list[str]:
    """`mirrors` of this machine's configuration."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.*"))]
    files = [file for file in files if file.suffix in {".list", ".sources"} and file.exists()]
    return mirrors([pair for file in files for pair in entries(file.read_text())])


def host_options() -> list[str]:
    """The host's proxy and certificate settings for apt."""
    command = ["apt-config", "dump", "--no-empty", "--format", '%f "%v";%n']
    text = subprocess.run(
        [*command, "Acquire::http", "Acquire::https"], capture_output=True, text=True, check=False
    ).stdout
    return [f"--aptopt={line}" for line in text.splitlines() if re.search("Proxy|Ca[A-Z]", line)]


def make_rootfs(target: Path, log: Path, commands: Commands) -> None:
    """Write the file system as a tar file.

    Raises:
        ClusterError: mmdebstrap failed.
    """
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PYTHON_PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    command += [f"--customize-hook={hook}" for hook in HOOKS]
    command += [*host_options(), PYTHON_SUITE, str(target), *host_mirrors()]
    commands.run(command, log)
    if not target.exists():
        raise ClusterError("mmdebstrap wrote nothing", log=log)
