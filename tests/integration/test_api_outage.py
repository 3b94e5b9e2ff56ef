"""The API server is away for a while: trainers are answered, what happened is counted once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters import Bucket, Cluster
from tests.integration.journaled import read_journal
from tests.integration.lab import Lab
from tests.integration.link import Link, link_to
from tests.integration.operator_process import OperatorProcess
from tests.integration.pair import counters
from tune_operator.kube.client import Kube
from tune_trainer.protocol.exit_record import Outcome


def known_to(cluster: Cluster) -> dict[str, Any]:
    """The kubeconfig of the cluster."""
    config: dict[str, Any] = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    return config


@pytest.fixture
async def link(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Link]:
    """The operator's only way to the API server; the test has another."""
    config = known_to(cluster)
    (entry,) = config["clusters"]
    async with link_to(entry["cluster"]["server"]) as (way, address):
        entry["cluster"]["server"] = f"https://{address}"
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        yield way


@pytest.fixture
async def lab(
    kube: Kube, namespace: str, minio: Bucket, link: Link, tmp_path: Path
) -> AsyncIterator[Lab]:
    """An operator of the test's own, whose Lease outlasts the outage."""
    variables = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "TUNE_LEASE_SECONDS": "60"}
    operator = OperatorProcess(tmp_path / "operator.log", **variables)
    operator.start()
    await operator.ready()
    bench = Lab(kube, namespace, minio, operator)
    await bench.secret()
    yield bench
    await asyncio.to_thread(operator.stop)  # the link must go on
    assert "Traceback" not in operator.log.read_text(), operator.log.read_text()


async def test_what_happens_during_an_outage_of_the_api_server_is_counted_once(
    lab: Lab, link: Link
) -> None:
    made = await lab.apply("unseen", numSamples=3, maxConcurrentTrials=3)
    evicted, ended, calm = [
        await lab.player("unseen", trial, 1) for trial in ("00000", "00001", "00002")
    ]
    await evicted.annotate({"tune.dev/exit-on-delete": "0"})
    for player in (evicted, ended, calm):
        await player.train(2)
        await player.save()
    process = lab.operator.pid
    link.refuse()
    for player in (evicted, ended, calm):
        await player.train(3)
    await evicted.end(Outcome.INTERRUPTED)
    await lab.evict(evicted.pod)
    ended.iteration = 10
    await ended.end(Outcome.COMPLETED, reason="StoppedByCriteria")
    await ended.exit(0)
    link.restore()
    again = await lab.player("unseen", "00000", 2)
    assert again.iteration == 2
    await lab.trial("unseen", "00001", lambda row: row["state"] == "Terminated")
    await calm.train(5)
    for player in (calm, again):
        await player.complete()
    await lab.condition("unseen", "Complete", "True", "AllTrialsTerminated")
    rows = (await lab.get("unseen"))["status"]["trials"]
    assert [counters(row) for row in rows] == [(0, 1, 0), (0, 0, 0), (0, 0, 0)]
    assert [row["attempt"] for row in rows] == [2, 1, 1]
    assert lab.operator.pid == process
    journal = await read_journal(lab, made)
    assert journal.results("00002", 1) == [*range(1, 11)]
