"""The journal is the memory: whoever is killed, frozen or doubled, it stays whole and single."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.journaled import client, read_journal, run_keys, segments
from tests.integration.lab import Lab
from tests.integration.operator_process import OperatorProcess
from tests.integration.player import Player
from tune_operator.lifecycle.trial_state import Phase
from tune_operator.store.object_store import ObjectStore
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import RunKeys, SegmentRef

RESULTS = 40
HOUR = 3600
"""Results of an hour at one a second."""
TRIALS = ("00000", "00001", "00002")


@pytest.fixture
async def store(lab: Lab) -> AsyncIterator[ObjectStore]:
    """A way to the bucket beside the operator's."""
    direct = client(lab.bucket)
    yield direct
    await direct.close()


async def test_no_result_is_lost_or_doubled_when_the_operator_is_killed_again_and_again(
    lab: Lab,
) -> None:
    stop = {"criteria": {"training_iteration": RESULTS}}
    made = await lab.apply("killed", numSamples=3, maxConcurrentTrials=3, stop=stop)
    players = [await lab.player("killed", trial, 1) for trial in TRIALS]

    async def train(player: Player) -> None:
        while player.seq < RESULTS:
            await player.train(1, score=player.seq / 100)
            if player.seq % 7 == 0:
                await player.save()
        await player.complete(score=RESULTS / 100)

    async def kill() -> None:
        chance = random.Random(4)
        for least in (8, 18, 30):
            reached = least + chance.randrange(6)

            async def far(reached: int = reached) -> bool:
                return max(player.seq for player in players) >= reached

            await lab.until(far, f"{reached} results", "killed")
            lab.operator.kill()
            lab.operator.start()
            await lab.operator.ready()

    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        for player in players:
            group.create_task(train(player))
    await lab.condition("killed", "Complete", "True", "AllTrialsTerminated")
    journal = await read_journal(lab, made)
    assert journal.released
    for trial in journal.state.trials:
        assert journal.results(trial.name, 1) == [*range(1, RESULTS + 1)]
        assert (trial.phase, trial.attempt, trial.iteration) == (Phase.TERMINATED, 1, RESULTS)
        assert (trial.failures, trial.disruptions, trial.infrastructure) == (0, 0, 0)


async def test_an_hour_of_results_comes_from_the_store_when_nobody_took_them(lab: Lab) -> None:
    """One trial ended without the operator, the other died: its last checkpoint carries them."""
    made = await lab.apply("hour", numSamples=2, maxConcurrentTrials=2)
    ended, died = [await lab.player("hour", trial, 1) for trial in TRIALS[:2]]
    await ended.train(1)
    await died.train(1)
    lab.operator.kill()
    ended.train_alone(HOUR)
    await ended.end(Outcome.COMPLETED, reason="StoppedByCriteria")
    await ended.exit(0)
    died.train_alone(HOUR)
    await died.commit()
    await died.exit(1)
    lab.operator.start()
    await lab.operator.ready()
    await lab.trial("hour", "00000", lambda row: row["state"] == "Terminated")
    again = await lab.player("hour", "00001", 2)
    assert again.iteration == HOUR + 1
    await again.train(1)
    await again.complete()
    await lab.condition("hour", "Complete", "True", "AllTrialsTerminated")
    journal = await read_journal(lab, made)
    for trial in TRIALS[:2]:
        assert journal.results(trial, 1) == [*range(1, HOUR + 2)]


async def test_a_journal_that_cannot_be_read_stops_new_work_and_nothing_is_overwritten(
    lab: Lab, store: ObjectStore
) -> None:
    """A torn segment, one of a newer version, a claim of a newer version."""
    damage = {"torn": 1, "newer": 1, "claimed": 0}
    made = {name: await lab.apply(name, numSamples=2) for name in damage}
    players = {name: await lab.player(name, "00000", 1) for name in damage}
    for name, player in players.items():
        await player.train(2)
        await player.save()
        # Shown, it is journaled: no segment is on its way when the journal is read below.
        await lab.trial(name, "00000", lambda row: "checkpoint" in row)
    lab.operator.kill()
    bad: dict[str, str] = {}
    good: dict[str, bytes] = {}
    for name, seq in damage.items():
        keys = run_keys(lab, made[name])
        bad[name] = keys.segment(max(ref for ref in segments(lab, keys) if ref.seq == seq))
        good[name] = await store.get(bad[name])
        await store.put(bad[name], spoil(name, good[name]))
    before = {name: await everything(lab, store, made[name]) for name in damage}
    lab.operator.start()
    await lab.operator.ready()
    for name, key in bad.items():
        message = await lab.condition(name, "StorageAvailable", "False", "JournalUnreadable")
        assert key in message
        assert key in await lab.event(name, "StorageUnavailable")
        assert await everything(lab, store, made[name]) == before[name]
        (pod,) = await lab.pods(name)
        assert pod["metadata"]["uid"] == players[name].pod["metadata"]["uid"]
        assert "deletionTimestamp" not in pod["metadata"]
        await store.put(key, good[name])  # restored from a backup
    for name, player in players.items():
        await player.train(1)
        await lab.condition(name, "StorageAvailable", "True")
        assert (await read_journal(lab, made[name])).state.trials[0].attempt == 1


def spoil(how: str, data: bytes) -> bytes:
    """A segment as it may be found after an accident or a downgrade."""
    if how == "torn":
        return data[: len(data) // 2]
    assert b'"version":1' in data.replace(b" ", b"")
    return data.replace(b'"version":1', b'"version":2').replace(b'"version": 1', b'"version": 2')


async def everything(lab: Lab, store: ObjectStore, made: dict[str, Any]) -> dict[str, bytes]:
    """The whole journal of an experiment."""
    keys = run_keys(lab, made)
    return {str(ref): await store.get(keys.segment(ref)) for ref in segments(lab, keys)}


@contextmanager
def rival(lab: Lab, **variables: str) -> Iterator[OperatorProcess]:
    """A second operator that watches the same experiments."""
    other = OperatorProcess(lab.operator.log.with_name("rival.log"), **variables)
    other.start()
    try:
        yield other
    finally:
        other.stop()
        assert "Traceback" not in other.log.read_text(), other.log.read_text()


def openings(lab: Lab, keys: RunKeys) -> list[SegmentRef]:
    """Claims, the oldest first."""
    return [ref for ref in segments(lab, keys) if ref.seq == 0]


async def test_of_two_operators_without_a_lease_one_leaves_and_no_trial_notices(lab: Lab) -> None:
    made = await lab.apply("contested")
    player = await lab.player("contested", "00000", 1)
    await player.train(2)
    await player.save()
    with rival(lab, TUNE_LEASE_NAME="another") as other:
        await other.ready()

        async def left() -> bool:
            return "left the run" in lab.operator.log.read_text() + other.log.read_text()

        await player.train(1)
        await lab.until(left, "one of them leaves the run", "contested")
        assert len(openings(lab, run_keys(lab, made))) >= 2
        await same_pod(lab, player)
    await player.train(7)
    await player.complete()
    await lab.condition("contested", "Complete", "True")
    await unharmed(lab, made)


async def test_a_frozen_leader_that_wakes_finds_the_run_taken_and_nothing_it_writes_counts(
    lab: Lab,
) -> None:
    """It may put one more segment before it sees the newer claim; nobody ever reads that one."""
    made = await lab.apply("frozen")
    keys = run_keys(lab, made)
    player = await lab.player("frozen", "00000", 1)
    await player.train(2)
    (first,) = openings(lab, keys)
    lab.operator.freeze()
    with rival(lab) as other:
        await other.ready()

        async def taken() -> bool:
            return len(openings(lab, keys)) == 2

        await lab.until(taken, "the other has opened the run", "frozen")
        frozen = written(lab, keys, first)
        lab.operator.thaw()
        assert await lab.operator.ended() == 1, "it lost the Lease"
        assert len(written(lab, keys, first)) <= len(frozen) + 1
        await same_pod(lab, player)
    lab.operator.start()
    await player.train(8)
    await player.complete()
    await lab.condition("frozen", "Complete", "True")
    await unharmed(lab, made)


def written(lab: Lab, keys: RunKeys, opening: SegmentRef) -> list[SegmentRef]:
    """What one opening wrote."""
    return [ref for ref in segments(lab, keys) if ref.nonce == opening.nonce]


async def same_pod(lab: Lab, player: Player) -> None:
    """There is one Pod, and nobody touched it."""
    (pod,) = await lab.pods(player.name.rsplit("-", 3)[0])
    assert pod["metadata"]["uid"] == player.pod["metadata"]["uid"]
    assert "deletionTimestamp" not in pod["metadata"]


async def unharmed(lab: Lab, made: dict[str, Any]) -> None:
    """One attempt, ten results, each once."""
    journal = await read_journal(lab, made)
    (trial,) = journal.state.trials
    assert (trial.phase, trial.attempt, trial.failures, trial.disruptions) == (
        Phase.TERMINATED,
        1,
        0,
        0,
    )
    assert journal.results("00000", 1) == [*range(1, 11)]
