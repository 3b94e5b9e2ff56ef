"""Finds the cluster a layer of tests runs on, as `dev/cluster` left it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Cluster:
    """One running cluster of `dev/cluster` (its cluster.json)."""

    name: str
    kubeconfig: str
    minio: str
    minio_for_pods: str
    access_key: str
    secret_key: str
    host_for_pods: str
    bin: Path
    audit: Path


@dataclass(frozen=True)
class Bucket:
    """A bucket in a real MinIO."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


def find(nodes: str) -> Cluster:
    """The cluster that TUNE_TEST_CLUSTER names, else the one of `make cluster`; skips without."""
    name = os.environ.get("TUNE_TEST_CLUSTER", "dev")
    cache = Path(os.environ.get("TUNE_CACHE_DIR") or Path.home() / ".cache" / "tune-operator")
    facts = cache / "clusters" / name / "cluster.json"
    if not facts.exists():
        pytest.skip(f"cluster {name!r} is not up: make cluster NODES={nodes} NAME={name}")
    known: dict[str, Any] = json.loads(facts.read_text())
    if known["flavour"] != nodes:
        pytest.skip(f"cluster {name!r} has {known['flavour']} nodes, not {nodes}")
    return Cluster(
        name=name,
        kubeconfig=known["kubeconfig"],
        minio=known["minio"],
        minio_for_pods=known["minioForPods"] or known["minio"],
        access_key=known["minioUser"],
        secret_key=known["minioPassword"],
        host_for_pods=known["hostIPForPods"] or "127.0.0.1",
        bin=Path(known["bin"]),
        audit=Path(known["audit"]),
    )
