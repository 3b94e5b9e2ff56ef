"""The root file systems of the base images, out of the host's own Debian sources."""

import re
import subprocess
from pathlib import Path

from .commands import Commands
from .errors import ClusterError
from .hostpip import CA_IN_BUILD
from .paths import write_atomically

CONF_IN_BUILD = "/etc/apt/apt.conf.d/99host"

# Where there is Python, pip may install into it and `python` is it, as in Docker's python images.
HOOKS = (
    'rm -f "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED',
    'test ! -e "$1"/usr/bin/python3 || ln -s python3 "$1"/usr/bin/python',
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


def mirrors(pairs: list[tuple[str, str]], wanted: str) -> list[str]:
    """Source lines for one suite from the host's archives; empty: mmdebstrap's own default.

    An archive carries all suites, so the host's release does not matter.
    """
    debian = [(uri.rstrip("/"), suite) for uri, suite in pairs if "debian" in uri]
    main = next((uri for uri, suite in debian if re.fullmatch(r"[a-z]+", suite)), None)
    security = next((uri for uri, suite in debian if suite.endswith("-security")), None)
    lines = [f"deb {main} {wanted} main"] if main else []
    if main and security:
        lines.append(f"deb {security} {wanted}-security main")
    return lines


def host_mirrors(suite: str, apt: Path = Path("/etc/apt")) -> list[str]:
    """`mirrors` of this machine's configuration."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.*"))]
    files = [file for file in files if file.suffix in {".list", ".sources"} and file.exists()]
    return mirrors([pair for file in files for pair in entries(file.read_text())], suite)


def host_settings() -> list[str]:
    """The host's proxy and certificate settings for apt, as lines of an apt.conf."""
    command = ["apt-config", "dump", "--no-empty", "--format", '%f "%v";%n']
    text = subprocess.run(
        [*command, "Acquire::http", "Acquire::https"], capture_output=True, text=True, check=False
    ).stdout
    return [line for line in text.splitlines() if re.search("Proxy|Ca[A-Z]", line)]


def conf_in_build(settings: list[str], ca: str) -> str:
    """An apt.conf for image builds, where the certificates are at ``ca``."""
    lines = [re.sub(r'(CaInfo) ".*"', rf'\1 "{ca}"', line) for line in settings]
    return "".join(f"{line}\n" for line in lines)


def build_volumes(folder: Path) -> list[str]:
    """Arguments for `buildah build` that lend the host's settings: mounted, never copied."""
    conf = folder / "apt.conf"
    write_atomically(conf, conf_in_build(host_settings(), CA_IN_BUILD), mode=0o644)
    return ["--volume", f"{conf}:{CONF_IN_BUILD}:ro"]


def make_rootfs(
    suite: str, packages: list[str], target: Path, log: Path, commands: Commands
) -> None:
    """Write the smallest system of a suite, and these packages, as a tar file.

    Raises:
        ClusterError: mmdebstrap failed.
    """
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    command += [f"--customize-hook={hook}" for hook in HOOKS]
    command += [f"--aptopt={line}" for line in host_settings()]
    command += [suite, str(target), *host_mirrors(suite)]
    commands.run(command, log)
    if not target.exists():
        raise ClusterError("mmdebstrap wrote nothing", log=log)
