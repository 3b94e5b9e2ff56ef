"""The API server's audit log: what was asked of it, and how it answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.clusters import Cluster


def audited(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Every request so far, oldest first; a line that is still being written is left out."""
    facts = json.loads(Path(cluster.kubeconfig).with_name("cluster.json").read_text())
    *lines, _ = Path(facts["audit"]).read_text().split("\n")
    return map(json.loads, lines)
