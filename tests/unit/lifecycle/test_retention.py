"""What stays of a trial's checkpoints and what goes, for every order and every history."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.api.objects import good
from tests.unit.api.reading import read
from tests.unit.lifecycle.builders import NOW
from tests.unit.lifecycle.builders import trial as some_trial
from tune_operator.lifecycle.objective import rank
from tune_operator.lifecycle.retention import Keep, Lineage, orphans, surplus, union
from tune_operator.lifecycle.settle import resume_plan
from tune_operator.lifecycle.trial_state import Checkpoint, Phase, TrialState
from tune_trainer.protocol.keys import CheckpointRef, DataRef, trial_name

KEEP = Keep(latest=2, best=1, metric="loss", mode="min")
Scores = dict[CheckpointRef, float | None]


def refs(text: str) -> tuple[CheckpointRef, ...]:
    return tuple(map(CheckpointRef.parse, text.split()))


def lineage(
    attempt: int,
    plan: str = "",
    *,
    open: bool = True,  # noqa: A002 - the field's name
    finished: bool = False,
    pins: str = "",
) -> Lineage:
    return Lineage(attempt, open, finished, refs(plan), frozenset(refs(pins)))


def scored(text: str) -> Scores:
    """``"1-5=0.3 1-6=nan 1-7"``: manifests and their scores."""
    found: Scores = {}
    for entry in text.split():
        ref, _, score = entry.partition("=")
        found[CheckpointRef.parse(ref)] = float(score) if score else None
    return found


@pytest.mark.parametrize(
    ("of", "found", "goes"),
    [
        pytest.param(lineage(1), "", "", id="nothing"),
        pytest.param(lineage(1), "1-1=9 1-2=8 1-3=7 1-4=6", "1-1 1-2", id="the latest stay"),
        pytest.param(lineage(1), "1-1=1 1-2=8 1-3=7 1-4=6", "1-2", id="and the best"),
        pytest.param(
            lineage(1), "1-1=nan 1-2 1-3=5 1-4=6 1-5=7", "1-1 1-2", id="NaN and missing are worst"
        ),
        pytest.param(lineage(1), "1-1=3 1-2=3 1-3=7 1-4=6", "1-1", id="the newest of equals"),
        pytest.param(
            lineage(2, "1-9 1-8 1-7"), "1-7=1 1-8=1 1-9=1 1-3=0", "1-3",
            id="all of the plan while it may be restored from",
        ),
        pytest.param(
            lineage(2, "1-9 1-8 1-7"), "1-7=1 1-8=2 1-9=3 2-12=4", "1-8",
            id="no longer when the attempt has committed",
        ),
        pytest.param(
            lineage(1, "1-9 1-8 1-7 1-6", open=False), "1-6=4 1-7=3 1-8=2 1-9=1", "",
            id="nor between two attempts",
        ),
        pytest.param(
            lineage(1, "1-9 1-8 1-7 1-6", open=False, finished=True),
            "1-6=4 1-7=1 1-8=2 1-9=3", "1-6", id="after the end the rule alone",
        ),
        pytest.param(
            lineage(2, "1-5"), "1-5=3 1-6=0 1-7=0 2-9=4 2-8=4", "1-6 1-7",
            id="a zombie's are neither latest nor best",
        ),
        pytest.param(
            lineage(2, "2-8", open=False, finished=True), "2-8=1 2-9=0 2-10=0", "2-9 2-10",
            id="nor are those of a zombie of the last attempt",
        ),
        pytest.param(
            lineage(1), "1-1=9 1-2=8 1-3=7 1-4=6 2-5=1 3-6=2", "1-1 1-2",
            id="later attempts are somebody else's",
        ),
        pytest.param(
            lineage(1, pins="1-1"), "1-1=9 1-2=8 1-3=7 1-4=6", "1-2", id="a pin stays",
        ),
        pytest.param(
            lineage(2, "1-5", pins="1-7"), "1-5=5 1-6=0 1-7=0", "1-6", id="whoever committed it",
        ),
    ],
)  # fmt: skip
def test_surplus(of: Lineage, found: str, goes: str) -> None:
    assert surplus(of, scored(found), (), KEEP) == refs(goes)


def test_none_of_the_best_need_stay() -> None:
    found = scored("1-1=0 1-2=8 1-3=7")
    assert surplus(lineage(1), found, (), replace(KEEP, best=0)) == refs("1-1")


def test_more_is_better_where_the_mode_says_so() -> None:
    found = scored("1-1=9 1-2=1 1-3=7 1-4=6")
    assert surplus(lineage(1), found, (), replace(KEEP, mode="max")) == refs("1-2")


def test_what_cannot_be_read_stays_and_counts_for_nothing() -> None:
    found = scored("1-1=3 1-2=2 1-3=1")
    assert surplus(lineage(1), found, refs("1-4 1-5"), KEEP) == refs("1-1")
    assert surplus(lineage(2, "1-3"), scored("1-3=1"), refs("1-4"), KEEP) == refs("1-4"), "zombie's"


def folders(text: str) -> list[DataRef]:
    """``"1-5/a"``: the data that attempt 1 saved at iteration 5 with nonce a."""
    parts = [entry.partition("/") for entry in text.split()]
    return [DataRef("00000", CheckpointRef.parse(ref), nonce) for ref, _, nonce in parts]


@pytest.mark.parametrize(
    ("of", "data", "named", "dropped", "goes"),
    [
        pytest.param(lineage(1), "1-5/a", "", "", "", id="an upload under way"),
        pytest.param(lineage(1), "1-5/a", "1-5/a", "", "", id="committed"),
        pytest.param(lineage(1), "1-5/a 1-5/b", "1-5/b", "", "", id="begun twice, by the living"),
        pytest.param(lineage(2), "1-5/a 1-5/b", "1-5/b", "", "1-5/a", id="by one that is over"),
        pytest.param(lineage(1, open=False), "1-5/a", "", "", "1-5/a", id="never committed"),
        pytest.param(
            lineage(1), "1-5/a 1-6/a", "", "1-5/a", "1-5/a", id="its manifest was dropped"
        ),
        pytest.param(lineage(1), "1-5/a", "1-5/a", "1-5/a", "", id="and a clone has it"),
        pytest.param(lineage(2), "3-5/a", "", "3-5/a", "", id="somebody else's"),
    ],
)
def test_orphans(of: Lineage, data: str, named: str, dropped: str, goes: str) -> None:
    found = orphans(of, folders(data), folders(named), folders(dropped))
    assert found == frozenset(folders(goes))


def test_no_data_is_an_orphan_while_nobody_knows_what_some_manifest_names() -> None:
    assert union([folders("1-5/a"), None]) is None
    assert orphans(lineage(2), folders("1-5/a"), None, folders("1-5/a")) == frozenset()


def test_what_any_trial_names_is_named() -> None:
    assert union([folders("1-5/a"), folders("1-5/b 1-5/a")]) == frozenset(folders("1-5/a 1-5/b"))


SAVED = Checkpoint(CheckpointRef(1, 5), NOW)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"attempt": 0, "open": False}, "no attempt was ever begun"),
        ({"phase": Phase.ERRORED, "reason": "NoValidCheckpoint", "open": False}, "all are lost"),
        ({"checkpoint": SAVED, "plan": (), "open": False}, "the plan was not recorded"),
    ],
)
def test_nothing_goes_of_which_nobody_knows_whose_it_is(fields: dict[str, Any], why: str) -> None:
    assert Lineage.of(some_trial(**fields)) is None, why


def test_what_the_status_names_is_pinned() -> None:
    of = Lineage.of(some_trial(checkpoint=SAVED, plan=refs("1-5"), attempt=2), refs("1-3"))
    assert of == lineage(2, "1-5", pins="1-5 1-3")


def test_the_objective_scores_where_nothing_else_is_named() -> None:
    assert Keep.of(read(good())) == Keep(2, 1, "mean_accuracy", "max")
    mine = {"keep": {"latest": 3, "best": 0}, "scoreAttribute": "loss", "scoreOrder": "min"}
    assert Keep.of(read(good(checkpoint=mine))) == Keep(3, 0, "loss", "min")


REFS = st.builds(CheckpointRef, st.integers(1, 4), st.integers(1, 12))
SCORES = st.none() | st.floats() | st.integers(0, 3).map(float)
FOUND = st.dictionaries(REFS, SCORES, max_size=12)
LINEAGES = st.builds(
    Lineage,
    attempt=st.integers(1, 3),
    open=st.booleans(),
    finished=st.booleans(),
    plan=st.lists(REFS, max_size=5, unique=True).map(tuple),
    pins=st.frozensets(REFS, max_size=2),
).map(lambda of: replace(of, finished=of.finished and not of.open))
KEEPS = st.builds(
    Keep, st.integers(2, 4), st.integers(0, 3), st.just("loss"), st.sampled_from(["min", "max"])
)
UNREADABLE = st.frozensets(REFS, max_size=3)


def without(found: Scores, gone: tuple[CheckpointRef, ...]) -> Scores:
    return {ref: score for ref, score in found.items() if ref not in gone}


untimed = settings(deadline=None, max_examples=60)


class TestEverySet:
    @untimed
    @given(LINEAGES, FOUND, UNREADABLE, KEEPS, st.randoms(use_true_random=False))
    def test_the_order_of_the_list_is_nothing(
        self, of: Lineage, found: Scores, odd: frozenset[CheckpointRef], keep: Keep,
        chance: random.Random,
    ) -> None:  # fmt: skip
        entries = list(found.items())
        chance.shuffle(entries)
        odd -= found.keys()
        shuffled = sorted(odd, key=lambda _: chance.random())
        assert surplus(of, dict(entries), shuffled, keep) == surplus(of, found, odd, keep)

    @untimed
    @given(LINEAGES, FOUND, UNREADABLE, KEEPS)
    def test_nothing_goes_that_is_still_needed(
        self, of: Lineage, found: Scores, odd: frozenset[CheckpointRef], keep: Keep
    ) -> None:
        odd -= found.keys()
        gone = {*surplus(of, found, odd, keep)}
        members = [ref for ref in found if of.holds(ref)]
        assert gone <= {*found, *odd}
        assert not gone & of.pins
        assert not {ref for ref in gone if ref.attempt > of.attempt}
        assert not gone & {*filter(of.holds, odd)}
        assert not gone & {*sorted(members)[-keep.latest :]}
        committed = of.open and any(ref.attempt == of.attempt for ref in members)
        if not of.finished and not committed:
            assert not gone & {*of.plan}
        worst = min((rank(found[ref], keep.mode) for ref in gone & {*members}), default=None)
        for ref in gone & {*members}:
            better = [
                m for m in members if rank(found[m], keep.mode) >= rank(found[ref], keep.mode)
            ]
            assert len(better) > keep.best, (ref, worst)

    @untimed
    @given(LINEAGES, FOUND, UNREADABLE, KEEPS)
    def test_nothing_else_stays(
        self, of: Lineage, found: Scores, odd: frozenset[CheckpointRef], keep: Keep
    ) -> None:
        odd -= found.keys()
        gone = {*surplus(of, found, odd, keep)}
        stays = {*found, *odd} - gone - of.pins - {*of.plan} - odd
        ours = [ref for ref in stays if ref.attempt <= of.attempt]
        assert all(of.holds(ref) for ref in ours)
        assert len(ours) <= keep.latest + keep.best

    @untimed
    @given(LINEAGES, FOUND, UNREADABLE, KEEPS)
    def test_done_twice_it_is_done_once(
        self, of: Lineage, found: Scores, odd: frozenset[CheckpointRef], keep: Keep
    ) -> None:
        odd -= found.keys()
        gone = surplus(of, found, odd, keep)
        assert surplus(of, without(found, gone), odd - {*gone}, keep) == ()

    @untimed
    @given(LINEAGES, FOUND, KEEPS, st.integers(13, 20), SCORES)
    def test_what_was_surplus_stays_surplus_when_more_is_committed(
        self, of: Lineage, found: Scores, keep: Keep, iteration: int, score: float | None
    ) -> None:
        more = {**found, CheckpointRef(of.attempt, iteration): score}
        assert {*surplus(of, found, (), keep)} <= {*surplus(of, more, (), keep)}


ODD = scored("1-1=nan 1-2 1-3=0 1-4=3 1-5=3 2-6=inf")
"""With a NaN, a missing score, an infinity, ties, and a best one in the middle."""

ALL = "1-5 1-4 1-3 1-2 1-1"


@pytest.mark.parametrize(
    ("of", "latest", "best", "stays"),
    [
        pytest.param(lineage(2, ALL), 2, 1, "1-3 1-5 2-6", id="the newest and the best"),
        pytest.param(lineage(2, ALL), 1, 2, "1-3 1-5 2-6", id="the newer of equals"),
        pytest.param(lineage(2, ALL), 1, 4, "1-3 1-4 1-5 2-6", id="what has no score is worst"),
        pytest.param(lineage(3, "2-6 1-2 1-1"), 2, 1, "1-1 1-2 2-6", id="a plan that is needed"),
        pytest.param(
            lineage(2, "1-5 1-4 1-3", pins="1-1"), 2, 1, "1-1 1-3 1-5 2-6", id="what is shown"
        ),
        pytest.param(lineage(2, "1-5 1-2", open=False), 2, 1, "1-2 1-5", id="and no zombie's"),
    ],
)
def test_in_whatever_order_they_come_the_same_stay(
    of: Lineage, latest: int, best: int, stays: str
) -> None:
    """All 720 orders, with retention after each."""
    keep = replace(KEEP, latest=latest, best=best)
    for order in permutations(ODD):
        found: Scores = {}
        for ref in order:
            found[ref] = ODD[ref]
            found = without(found, surplus(of, found, (), keep))
        assert found.keys() == {*refs(stays)}, order


class Pair:
    """Two trials with their manifests and data; of the second some manifests are clones."""

    def __init__(self) -> None:
        self.named: list[dict[CheckpointRef, DataRef]] = [{}, {}]
        self.data: set[DataRef] = set()
        self.lineages = [lineage(1), lineage(2)]
        self.dropped: set[DataRef] = set()

    def save(self, trial: int, ref: CheckpointRef) -> None:
        own = DataRef(trial_name(trial), ref, "n")
        self.named[trial][ref] = own
        self.data.add(own)

    def clone(self, source: CheckpointRef, ref: CheckpointRef) -> None:
        """If there still is what it is made from."""
        if source in self.named[0]:
            self.named[1][ref] = self.named[0][source]

    def collect(self) -> None:
        """Manifests of both, then data of both."""
        for trial, of in enumerate(self.lineages):
            scores = {ref: float(ref.iteration) for ref in self.named[trial]}
            for ref in surplus(of, scores, (), replace(KEEP, best=0)):
                self.dropped.add(self.named[trial].pop(ref))
        named = union(each.values() for each in self.named)
        for trial, of in enumerate(self.lineages):
            mine = [folder for folder in self.data if folder.trial == trial_name(trial)]
            self.data -= orphans(of, mine, named, self.dropped)


def test_in_whatever_order_clones_are_made_exactly_their_data_stay() -> None:
    """All 720 orders of saves and a clone, with retention after each."""
    saves = [*((0, ref) for ref in refs("1-3 1-4 1-5")), *((1, ref) for ref in refs("2-6 2-7"))]
    outlived = 0
    for order in permutations([*saves, None]):
        pair = Pair()
        for move in order:
            if move is None:
                pair.clone(*refs("1-3 2-3"))
            else:
                pair.save(*move)
            pair.collect()
            named = [{*each.values()} for each in pair.named]
            assert pair.data == {*named[0], *named[1]}, order
            outlived += not named[0] >= {folder for folder in named[1] if folder.trial == "00000"}
        assert [*map(set, pair.named)] == [{*refs("1-4 1-5")}, {*refs("2-6 2-7")}]
    assert outlived > 50, "otherwise it says nothing"


class Histories(RuleBasedStateMachine):
    """A trial's whole life. What a LIST and the state of its time made surplus may be deleted at
    any later time, by whoever owned the run when it was listed.

    ``own`` are the commits of the lineage in truth: by the living attempt, or in the one LIST that
    was made when their attempt was settled or fenced.
    """

    keep = Keep(latest=2, best=2, metric="loss", mode="min")

    def __init__(self) -> None:
        super().__init__()
        self.trial = TrialState("00000", attempt=1, open=True)
        self.stored: Scores = {}
        self.own: Scores = {}
        self.decided: list[tuple[CheckpointRef, ...]] = []

    @rule(step=st.integers(1, 3), score=SCORES)
    @precondition(lambda self: self.trial.open)
    def commit(self, step: int, score: float | None) -> None:
        newest = max((ref.iteration for ref in self.own), default=0)
        ref = CheckpointRef(self.trial.attempt, newest + step)
        self.stored[ref] = self.own[ref] = score

    @rule(ago=st.integers(0, 3), iteration=st.integers(1, 30), score=SCORES)
    def commit_as_a_zombie(self, ago: int, iteration: int, score: float | None) -> None:
        ref = CheckpointRef(self.trial.attempt - ago, iteration)
        over = ago > 0 or not self.trial.open
        if ref.attempt > 0 and over and ref not in self.own:
            self.stored[ref] = score

    @rule()
    @precondition(lambda self: self.trial.open)
    def report(self) -> None:
        """What was committed is journaled, and so shown."""
        mine = [ref for ref in self.own if ref.attempt == self.trial.attempt]
        if mine:
            self.trial = replace(self.trial, checkpoint=Checkpoint(max(mine), NOW))

    @rule(last=st.booleans())
    @precondition(lambda self: self.trial.open)
    def settle(self, last: bool) -> None:
        plan = resume_plan(self.trial, tuple(self.stored))
        phase = Phase.TERMINATED if last and self.trial.attempt > 3 else Phase.PENDING
        known = Checkpoint(plan[0], NOW) if plan else None
        self.trial = replace(self.trial, open=False, plan=plan, phase=phase, checkpoint=known)

    @rule()
    @precondition(lambda self: not self.trial.open and not self.trial.finished)
    def start(self) -> None:
        self.trial = replace(self.trial, attempt=self.trial.attempt + 1, open=True)

    @rule()
    def list(self) -> None:
        of = Lineage.of(self.trial)
        self.decided.append(surplus(of, self.stored, (), self.keep) if of else ())

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.decided)
    def delete(self, which: int) -> None:
        for ref in self.decided[which % len(self.decided)]:
            self.stored.pop(ref, None)

    @invariant()
    def the_latest_and_the_best_of_the_lineage_are_there(self) -> None:
        latest = sorted(self.own, reverse=True)[: self.keep.latest]
        assert self.stored.keys() >= set(latest)
        best = sorted(self.own, key=lambda ref: (rank(self.own[ref], "min"), ref), reverse=True)
        assert self.stored.keys() >= set(best[: self.keep.best])

    @invariant()
    def what_is_restored_from_is_there(self) -> None:
        if not any(ref.attempt == self.trial.attempt for ref in self.own) or not self.trial.open:
            assert self.stored.keys() >= set(self.trial.plan[:2])

    @invariant()
    def what_the_status_shows_is_there(self) -> None:
        assert self.trial.checkpoint is None or self.trial.checkpoint.ref in self.stored


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_infinity_is_no_score() -> None:
    found = scored("1-1=5 1-2=-inf 1-3=9 1-4=9")
    assert surplus(lineage(1), found, (), KEEP) == refs("1-2")
    assert math.isinf(found[CheckpointRef(1, 2)] or 0)
