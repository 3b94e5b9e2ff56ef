"""Reads a run's journal from the bucket, as a person would who wants to know what happened."""

from dataclasses import dataclass
from typing import Any

from tests.clusters import Bucket
from tests.integration.lab import Lab
from tests.integration.player import objects
from tune_operator.experiment.records import Record, fold_all
from tune_operator.experiment.segments import unpack
from tune_operator.lifecycle.trial_state import RunState
from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.factory import open_store
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import RunKeys, SegmentRef, parse_segment_key


@dataclass(frozen=True)
class Journaled:
    """All records that count, in order."""

    records: list[Record]

    @property
    def state(self) -> RunState:
        """What they add up to."""
        return fold_all(RunState(), self.records)

    @property
    def released(self) -> bool:
        """Whether the last word on it is that the run may be taken by somebody else."""
        said = [record["released"] for record in self.records if "released" in record]
        return bool(said) and bool(said[-1])

    def results(self, trial: str, attempt: int) -> list[int]:
        """Sequences of the results of an attempt, in the order of the journal."""
        return [
            result["seq"]
            for record in self.records
            if (record["type"], record.get("trial"), record.get("attempt"))
            == ("results", trial, attempt)
            for result in record["results"]
        ]


def run_keys(lab: Lab, experiment: dict[str, Any]) -> RunKeys:
    """Where the run of an experiment of `Lab.apply` lies."""
    meta = experiment["metadata"]
    return RunKeys.of(meta["namespace"], meta["namespace"], meta["name"], meta["uid"])


def client(bucket: Bucket) -> ObjectStore:
    """A direct way to the store, whatever way the operator takes."""
    credentials = StaticCredentials(bucket.access_key, bucket.secret_key)
    return open_store(f"s3://{bucket.bucket}", bucket.endpoint, None, credentials)


def segments(lab: Lab, keys: RunKeys) -> list[SegmentRef]:
    """Everything in the journal, claims included."""
    found = map(parse_segment_key, objects(lab.bucket, keys.journal()))
    return sorted(ref for ref in found if ref is not None)


async def read_journal(lab: Lab, experiment: dict[str, Any]) -> Journaled:
    """From the newest opening back to the first, each as far as the later one says it counts."""
    keys = run_keys(lab, experiment)
    store = client(lab.bucket)
    written = {
        ref: unpack(keys.segment(ref), await store.get(keys.segment(ref)))
        for ref in segments(lab, keys)
        if ref.seq > 0
    }
    await store.close()
    last = max(written, default=None)
    chain: list[Record] = []
    while last is not None:
        opening = [last.numbered(seq) for seq in range(1, last.seq + 1)]
        chain = [record for ref in opening for record in written[ref]] + chain
        after = written[opening[0]][0]["after"]
        last = SegmentRef.parse(after) if after else None
    return Journaled(chain)
