"""Talks to a cluster with its own kubectl."""

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from .errors import ClusterError, last_line
from .paths import ClusterPaths

RETRY_SECONDS = 0.1


class Kubectl:
    """kubectl with the cluster's kubeconfig; manifests are dictionaries."""

    def __init__(self, paths: ClusterPaths) -> None:
        self._paths = paths
        self._command = [
            str(paths.bin / "kubectl"),
            f"--kubeconfig={paths.kubeconfig}",
            f"--cache-dir={paths.run / 'kubectl'}",  # not the user's ~/.kube
            "--request-timeout=10s",
        ]

    def try_run(self, *arguments: str, stdin: str = "") -> str | None:
        """Standard output, or None if kubectl failed; its words are in kubectl.log."""
        with (self._paths.logs / "kubectl.log").open("ab") as log:
            done = subprocess.run(
                [*self._command, *arguments],
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                check=False,
            )
        return done.stdout if done.returncode == 0 else None

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Standard output.

        Raises:
            ClusterError: kubectl failed.
        """
        answer = self.try_run(*arguments, stdin=stdin)
        if answer is None:
            log = self._paths.logs / "kubectl.log"
            raise ClusterError(f"kubectl {arguments[0]} failed: {last_line(log)}", log=log)
        return answer

    def apply(self, manifests: Sequence[dict[str, Any]]) -> None:
        """Create or update the objects.

        Raises:
            ClusterError: the API server refuses them.
        """
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=body)

    def wait(self, what: str, expected: str, *arguments: str, seconds: float = 60) -> None:
        """Wait until `kubectl <arguments>` prints `expected`.

        Raises:
            ClusterError: it did not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while (answer := self.try_run(*arguments)) is None or answer.strip() != expected:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{what}: not after {seconds:.0f} s (last answer: {answer!r})",
                    log=self._paths.logs / "kubectl.log",
                )
            time.sleep(RETRY_SECONDS)
