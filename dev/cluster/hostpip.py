"""The host's way to reach a package index, lent to image builds.

Mounted while a RUN step runs, never copied: an image must not remember the machine it was made
on. A pip.conf and not environment variables, because a build would bake those in.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .paths import write_atomically

CA_IN_BUILD = "/run/host-ca.crt"
CONF_IN_BUILD = "/etc/pip.conf"
# Settings about where packages come from. The others are the Dockerfile's business.
SETTINGS = {
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "proxy",
    "retries",
    "timeout",
    "default-timeout",
    "trusted-host",
}


def host_settings() -> dict[str, str]:
    """What pip is told on this machine, by file or by environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse_settings(done.stdout)


def parse_settings(listing: str) -> dict[str, str]:
    """Setting to value out of `pip config list`; the environment wins over files."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        scope, _, setting = name.partition(".")
        if setting in SETTINGS and (scope == ":env:" or setting not in found):
            try:
                found[setting] = str(ast.literal_eval(value))
            except (ValueError, SyntaxError):
                continue
    return found


def host_ca(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The host's certificate bundle, if it has one."""
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if value := environment.get(name):
            return Path(value)
    default = Path("/etc/ssl/certs/ca-certificates.crt")
    return default if default.exists() else None


def pip_conf(settings: Mapping[str, str], *, with_ca: bool) -> str:
    """A pip.conf with these settings."""
    lines = ["[global]", *(f"{k} = {' '.join(v.split())}" for k, v in sorted(settings.items()))]
    if with_ca:
        lines.append(f"cert = {CA_IN_BUILD}")
    return "\n".join([*lines, ""])


def build_volumes(folder: Path) -> list[str]:
    """Arguments for `buildah build` that lend the host's settings."""
    ca = host_ca()
    settings = host_settings()
    conf = folder / "pip.conf"
    write_atomically(conf, pip_conf(settings, with_ca=ca is not None), mode=0o644)
    mounts = [f"{conf}:{CONF_IN_BUILD}:ro"]
    if ca:
        mounts.append(f"{ca}:{CA_IN_BUILD}:ro")
    local = [Path(word) for word in settings.get("find-links", "").split()]
    mounts += [f"{path}:{path}:ro" for path in local if path.is_absolute() and path.is_dir()]
    return [argument for mount in mounts for argument in ("--volume", mount)]
