"""All settings of the process: read once from the environment, validated, printed at start."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class SettingsError(ValueError):
    """A variable that makes no sense; the text names it and what it should be."""


@dataclass(frozen=True)
class Settings:
    """``watch_namespaces`` empty means all; ``pod_name`` empty means outside a cluster.

    ``node_watch``: follow all nodes, to checkpoint before one is drained.
    ``lease_seconds`` is how long a leader that died keeps others waiting.
    """

    namespace: str
    service_url: str
    pod_name: str = ""
    watch_namespaces: tuple[str, ...] = ()
    node_watch: bool = True
    listen_host: str = "0.0.0.0"  # noqa: S104 - the Service must reach it
    listen_port: int = 8443
    obs_port: int = 8080
    ca_secret: str = "tune-operator-ca"  # noqa: S105 - a name
    lease_name: str = "tune-operator"
    lease_seconds: int = 15
    log_level: str = "INFO"
    log_format: str = "text"
    workers: int = 16

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """Raises SettingsError naming the variable."""
        reader = _Reader(variables)
        namespaces = variables.get("TUNE_WATCH_NAMESPACES", "")
        return cls(
            namespace=reader.name("TUNE_NAMESPACE", "default"),
            service_url=reader.url("TUNE_SERVICE_URL"),
            pod_name=variables.get("TUNE_POD_NAME", ""),
            watch_namespaces=tuple(
                sorted({part.strip() for part in namespaces.split(",") if part.strip()})
            ),
            node_watch=reader.flag("TUNE_NODE_WATCH", default=cls.node_watch),
            listen_host=variables.get("TUNE_LISTEN_HOST", cls.listen_host),
            listen_port=reader.whole("TUNE_LISTEN_PORT", cls.listen_port, 0, 65535),
            obs_port=reader.whole("TUNE_OBS_PORT", cls.obs_port, 0, 65535),
            ca_secret=reader.name("TUNE_CA_SECRET", cls.ca_secret),
            lease_name=reader.name("TUNE_LEASE_NAME", cls.lease_name),
            lease_seconds=reader.whole("TUNE_LEASE_SECONDS", cls.lease_seconds, 3, 300),
            log_level=reader.choice("TUNE_LOG_LEVEL", logging.getLevelNamesMapping(), "INFO"),
            log_format=reader.choice("TUNE_LOG_FORMAT", {"text": 0, "json": 0}, "text"),
            workers=reader.whole("TUNE_WORKERS", cls.workers, 1, 64),
        )

    def lines(self) -> list[str]:
        """``name=value`` of every setting, for the log; none of them is secret."""
        return [f"{name}={value!r}" for name, value in asdict(self).items()]


class _Reader:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def name(self, variable: str, default: str) -> str:
        value = self._variables.get(variable) or default
        if not _NAME.fullmatch(value):
            raise SettingsError(f"{variable}={value!r} is no Kubernetes name")
        return value

    def url(self, variable: str) -> str:
        value = self._variables.get(variable, "")
        if not re.fullmatch(r"https://[^/\s]+", value):
            raise SettingsError(
                f"{variable}={value!r}: set the https URL, without a path, at which trainers reach "
                "this operator"
            )
        return value

    def whole(self, variable: str, default: int, low: int, high: int) -> int:
        text = self._variables.get(variable) or str(default)
        if not text.isdecimal() or not low <= int(text) <= high:
            raise SettingsError(f"{variable}={text!r} is no whole number from {low} to {high}")
        return int(text)

    def flag(self, variable: str, *, default: bool) -> bool:
        value = self._variables.get(variable) or str(default).lower()
        if value not in ("true", "false"):
            raise SettingsError(f"{variable}={value!r} is neither true nor false")
        return value == "true"

    def choice(self, variable: str, allowed: Mapping[str, int], default: str) -> str:
        value = self._variables.get(variable) or default
        if value not in allowed:
            raise SettingsError(f"{variable}={value!r} is none of {', '.join(allowed)}")
        return value
