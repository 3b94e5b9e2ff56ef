"""Short histories of one race each between retention and whoever needs what it deletes."""

from __future__ import annotations

from tests.model.examples import Stage
from tests.model.history import KEYS
from tests.model.peace import Peace, conclude
from tests.model.play import Trainer
from tests.model.process import GRACE_SECONDS, Process
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.manifest import Manifest

PASS = 11.0
"""Seconds after which a change was looked at by retention."""

ALL = 2 * PASS + GRACE_SECONDS + PASS
"""And after which all of it is done."""


class Collecting(Stage):
    """Two trials, and operators that delete what nobody needs."""

    def __init__(self, operators: int = 1) -> None:
        super().__init__(operators, collects=True)
        self.last_iteration = 8

    def save(self, times: int, trainer: Trainer | None = None) -> None:
        """A trainer, the first trial's by default, trains on and commits; the operator is told."""
        one = trainer or self.trainer
        for _ in range(times):
            self._iterate(one)
            self._commit(one)
        self.tell_of(one)

    def tell_of(self, trainer: Trainer) -> None:
        """It reports, and that is journaled."""
        self._report(trainer, self.operator)
        self.operator.finish()
        self.work(2.0)

    def collected(self, seconds: float = PASS) -> None:
        """Time passes, and retention looks."""
        for _ in range(int(seconds // PASS)):
            self.work(PASS)
            self.work(1.0)

    def asks_the_store(self, operator: Process) -> None:
        """What this operator asks the store is answered, and it hears of nothing else."""
        while calls := [call for call in operator.wire.calls if " store " in call.what]:
            operator.passes(calls[0])


def more_saves_than_stay() -> None:
    """Checkpoints are pushed out by newer ones, and their data follow."""
    with Collecting() as stage:
        stage.start()
        stage.save(5)
        stage.collected(ALL)
        found = stage.history.retention
        assert (found.manifests_deleted, found.data_deleted) == (3, 3)
        conclude(stage, Peace())


def saves_nobody_was_told_of() -> None:
    """The status shows a checkpoint that is no more among the newest."""
    with Collecting() as stage:
        stage.start()
        stage.collected()
        stage.save(1)
        for _ in range(3):
            stage.iterate()
        stage.collected()
        conclude(stage, Peace())


def an_upload_that_takes_long() -> None:
    """Data lie there without a manifest for longer than any grace; then it is committed."""
    with Collecting() as stage:
        stage.start()
        stage.save(1)
        stage._iterate(stage.trainer)
        stage._upload(stage.trainer)
        stage.collected(ALL)
        stage._commit(stage.trainer)
        conclude(stage, Peace())


def a_plan_longer_than_what_stays() -> None:
    """An attempt that has not committed yet may restore from each of many."""
    with Collecting() as stage:
        stage.start()
        stage.collected()
        for _ in range(4):
            stage.iterate()
        stage._stop(stage.pod, 1)
        stage.operator.poke()
        stage.operator.finish()
        stage.start()
        stage.collected()
        conclude(stage, Peace())


def an_owner_who_was_overtaken_collects() -> None:
    """It lists what a zombie has committed since an heir fenced it, and believes it to count."""
    with Collecting(2) as stage:
        stage.start()
        stage.save(2)
        owner, ghost = stage.operator, stage.trainer
        stage._tear_away(stage.pod)
        stage.operators.reverse()
        stage.start()
        for _ in range(2):
            stage._iterate(ghost)
            stage._commit(ghost)
        stage.asks_the_store(owner)
        conclude(stage, Peace())


def an_owner_freezes_in_its_deletions() -> None:
    """What it had begun to delete goes while an heir plans with all that is left."""
    with Collecting(2) as stage:
        stage.start()
        stage.save(5)
        stage.collected()
        stage.save(2)
        delete = stage.until("delete store")
        owner = stage.operator
        owner.loop.frozen = True
        stage._stop(stage.pod, 1)
        stage.operators.reverse()
        stage.start()
        owner.loop.frozen = False
        owner.passes(delete)
        stage.asks_the_store(owner)
        stage.start()
        conclude(stage, Peace())


def a_clone_outlives_its_source() -> None:
    """The second trial has a checkpoint whose data are the first one's, which goes on and on."""
    with Collecting() as stage:
        stage.start()
        stage.save(1)
        source = stage.bucket.objects[KEYS.trial("00000").manifest(CheckpointRef(1, 1))]
        other = next(one for one in stage.trainers.values() if one.trial == "00001")
        stage._iterate(other)
        other.saved = other.uploaded = other.iteration
        clone = CheckpointRef(1, 1)
        made = Manifest.from_bytes(source).clone("00001", clone, "c")
        stage.bucket.objects[KEYS.trial("00001").manifest(clone)] = made.to_bytes()
        stage.history.committed("00001", clone, alive=True)
        stage.tell_of(other)
        stage.save(4)
        stage.collected(ALL)
        assert stage.history.retention.manifests_deleted == 3
        assert stage.history.retention.data_deleted == 2
        conclude(stage, Peace())


DELETIONS = (
    more_saves_than_stay,
    saves_nobody_was_told_of,
    an_upload_that_takes_long,
    a_plan_longer_than_what_stays,
    an_owner_who_was_overtaken_collects,
    an_owner_freezes_in_its_deletions,
    a_clone_outlives_its_source,
)
