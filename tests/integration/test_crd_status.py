"""The status on a real API server: stored whole, bounded, and readable with kubectl."""

import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.clusters import Cluster
from tests.integration.stored import stored_experiment
from tests.polling import soon
from tune_operator.kube.client import Kube
from tune_operator.kube.errors import Conflict, Invalid
from tune_operator.kube.resources import EXPERIMENTS

TIME = "2026-03-01T12:00:00Z"
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Accepted",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": TIME,
            "reason": "Accepted",
            "message": "",
        }
    ],
    "runID": "6f0e0000-0000-4000-8000-000000000001",
    "storage": {"uri": "s3://tune/team-a/default/digits/6f0e"},
    "journal": {"term": 4},
    "startTime": TIME,
    "completionTime": TIME,
    "counts": {
        "total": 20, "pending": 0, "running": 4, "paused": 0, "terminated": 15, "errored": 1,
    },
    "failures": 2,
    "disruptions": 5,
    "infrastructure": 3,
    "lostIterations": 37,
    "state": "Running",
    "done": "16/20",
    "live": {"00003": "3/6c2b7bd3-0000-4000-8000-000000000001/"},
    "trials": [
        {
            "name": "00003",
            "state": "Running",
            "reason": "",
            "params": {"lr": 0.01, "model": {"act": "relu", "any": None}},
            "truncated": False,
            "attempt": 3,
            "node": "node-1",
            "iteration": 40,
            "objectiveValue": None,
            "objectiveValueText": "NaN",
            "checkpoint": {"iteration": 40, "attempt": 2, "time": TIME},
            "failures": 1,
            "disruptions": 1,
            "infrastructure": 0,
            "startTime": TIME,
            "completionTime": TIME,
            "lastInterruption": {
                "class": "preempted",
                "reason": "EvictionByEvictionAPI",
                "exitCode": 0,
                "message": "",
                "row": 8,
                "node": "node-1",
                "attempt": 2,
                "iteration": 41,
                "time": TIME,
            },
        }
    ],
    "finished": {"terminated": "0-2,5-16", "errored": "4"},
    "best": {
        "trial": "00007",
        "objectiveValue": 0.971,
        "iteration": 93,
        "config": {"lr": 0.01},
        "truncated": False,
        "checkpoint": {"uri": "s3://tune/x", "iteration": 90, "attempt": 1, "time": TIME},
    },
}  # fmt: skip


@pytest.fixture
async def stored(kube: Kube, namespace: str) -> AsyncIterator[dict[str, Any]]:
    """An experiment in the API server."""
    async with stored_experiment(kube, namespace) as made:
        yield made


async def write_status(kube: Kube, meta: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """Replace the status, even if somebody else writes too."""
    while True:
        current = await kube.get(EXPERIMENTS, meta["namespace"], meta["name"])
        try:
            return await kube.replace_status(EXPERIMENTS, {**current, "status": status})
        except Conflict:
            continue


async def test_a_full_status_is_stored_whole(kube: Kube, stored: dict[str, Any]) -> None:
    written = await write_status(kube, stored["metadata"], STATUS)
    assert written["status"] == STATUS
    assert written["metadata"]["generation"] == stored["metadata"]["generation"]


OVERSIZED: dict[str, dict[str, Any]] = {
    "listed trials": {"trials": [{"name": "00000", "state": "Pending"}] * 257},
    "live attempts": {"live": {f"{number:05}": "1//" for number in range(1002)}},
    "entry of a live attempt": {"live": {"00000": "x" * 97}},
    "ranges": {"finished": {"errored": "1" * 16385}},
}


@pytest.mark.parametrize("status", OVERSIZED.values(), ids=OVERSIZED.keys())
async def test_the_status_is_bounded(
    kube: Kube, stored: dict[str, Any], status: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await write_status(kube, stored["metadata"], status)


def kubectl(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(cluster.bin / "kubectl"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


DEFAULTS: dict[str, str] = {
    "failure.maxFailures": "-1 is unlimited. Default 3.",
    "failure.disruptions.policy": "Default Count.",
    "failure.disruptions.max": "Default 20.",
    "failure.maxFailedTrials": "-1 is unlimited. Default -1.",
    "failure.failFast": "Default false.",
    "failure.backoff.initialSeconds": "Default 1.",
    "failure.backoff.maxSeconds": "Default 300.",
    "failure.rules.onExitCodes.values": "Exit codes, 0-255, each once",
    "failure.nodeLost.timeoutSeconds": "Default 60.",
    "failure.nodeLost.policy": "Default Fence.",
    "failure.startTimeoutSeconds": "Default 600.",
    "failure.progressDeadlineSeconds": "0 is off. Default 0.",
    "suspend": "Default false.",
    "stopGracePeriodSeconds": "Default 120.",
    "cleanup.podTTLSeconds": "0 removes it at once. Default 0.",
    "cleanup.keepErroredPods": "Default 10.",
}


@pytest.mark.parametrize(("field", "words"), DEFAULTS.items(), ids=DEFAULTS.keys())
def test_kubectl_explains_what_a_field_is_without_being_given(
    cluster: Cluster, field: str, words: str
) -> None:
    def explain() -> str:
        told = kubectl(cluster, "explain", f"tx.spec.{field}")
        return " ".join((told.stdout or told.stderr).split())

    # The API server publishes a CRD's schema a moment after it serves its objects.
    soon(lambda: words in explain(), f"kubectl to explain {field}", 30, explain)


async def test_kubectl_lists_the_columns(
    cluster: Cluster, kube: Kube, stored: dict[str, Any]
) -> None:
    meta = stored["metadata"]
    await write_status(kube, meta, STATUS)
    header, row = kubectl(cluster, "get", "tune", "-n", meta["namespace"]).stdout.splitlines()
    assert header.split() == [
        "NAME", "STATE", "DONE", "RUNNING", "FAILURES", "DISRUPTIONS", "BEST", "AGE",
    ]  # fmt: skip
    assert row.split()[:7] == ["stored", "Running", "16/20", "4", "2", "5", "0.971"]
