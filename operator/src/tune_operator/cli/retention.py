"""What retention would delete of an experiment, without deleting it.

::

    kubectl exec --namespace tune-system deploy/tune-operator -- \\
        python -m tune_operator.cli.retention NAMESPACE NAME

It reads the object, its Secret and its store with the operator's rights, and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence

from tune_operator.experiment.accepted import Refused, parse
from tune_operator.experiment.chain import Reader
from tune_operator.experiment.segments import JournalUnreadable
from tune_operator.experiment.storage import StorageProblem, connect
from tune_operator.experiment.survey import Survey, read_data, read_manifests
from tune_operator.kube.client import Kube
from tune_operator.kube.credentials import NoCluster
from tune_operator.kube.errors import KubeError
from tune_operator.kube.resources import EXPERIMENTS
from tune_operator.lifecycle.retention import Keep, Lineage, union
from tune_operator.store.errors import StoreError
from tune_operator.store.location import Location
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.keys import RunKeys, parse_segment_key


async def would_go(store: ObjectStore, keys: RunKeys, keep: Keep) -> AsyncIterator[str]:
    """Lines that name everything that would go by what journal and store say now, and a sum.

    Raises StoreError and JournalUnreadable.
    """
    listed = await store.list(keys.journal())
    if keys.purging() in listed:
        yield f"{keys.root} is being deleted as a whole"
        return
    journal = Reader(keys)
    segments = [ref for ref in map(parse_segment_key, listed) if ref is not None]
    await journal.read(store, segments)
    trials = [trial for trial in journal.state.trials if trial.attempt > 0]
    lineages = {trial.name: Lineage.of(trial) for trial in trials}
    surveys = {
        name: Survey(name, await read_manifests(store, keys.trial(name), keep.metric, {}))
        for name in lineages
    }
    gone = {
        name: surveys[name].surplus(lineage, keep) if lineage else ()
        for name, lineage in lineages.items()
    }
    left = [survey.without(gone[name]) for name, survey in surveys.items()]
    for survey in left:
        for ref in sorted(survey.unreadable):
            key = keys.trial(survey.trial).manifest(ref)
            yield f"no data would go: {key} cannot be read, and may need any"
    named = union(survey.names() for survey in left)
    size = 0
    for name, lineage in lineages.items():
        if lineage is None:
            continue
        of = keys.trial(name)
        for ref in gone[name]:
            yield of.manifest(ref)
        data = Survey(name, {}, await read_data(store, of))
        for folder in sorted(data.orphans(lineage, named, surveys[name].own(gone[name]))):
            stored = sum(each.size for each in data.data[folder])
            size += stored
            yield f"{of.folder(folder)} ({stored} bytes)"
    checkpoints = sum(map(len, gone.values()))
    yield f"{checkpoints} checkpoints and {size} bytes of data would go, data an hour later"


async def show(namespace: str, name: str) -> int:
    """Print it. Returns the exit code."""
    try:
        kube = await Kube.connect()
    except NoCluster as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        experiment = parse(await kube.get(EXPERIMENTS, namespace, name))
        storage = experiment.spec.storage
        keys = RunKeys.of(Location.parse(storage.uri).prefix, namespace, name, experiment.uid)
        store = await connect(kube, namespace, storage, lambda *_: None)
        try:
            async for line in would_go(store, keys, Keep.of(experiment.spec)):
                sys.stdout.write(f"{line}\n")
        finally:
            await store.close()
    except (KubeError, Refused, StorageProblem, StoreError, JournalUnreadable) as error:
        sys.stderr.write(f"{namespace}/{name}: {error}\n")
        return 1
    finally:
        await kube.close()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tune_operator.cli.retention",
        description="Show which checkpoints of an experiment retention would delete.",
    )
    parser.add_argument("namespace")
    parser.add_argument("name", help="of the TuneExperiment")
    given = parser.parse_args(arguments)
    return asyncio.run(show(given.namespace, given.name))


if __name__ == "__main__":
    raise SystemExit(main())
