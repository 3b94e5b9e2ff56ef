"""What is observed of open attempts becomes state: progress, binding, the decision table."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lifecycle.builders import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    NOW,
    RUNNING,
    STOPPED,
    UNDECIDED,
    at,
    condition,
    ended,
    experiment,
    idle,
    node,
    observation,
    pod,
    raw_pod,
    refs,
    step,
    trial,
    waiting,
)
from tests.unit.lifecycle.decisions import (
    KEY,
    crashed,
    deleted,
    interrupted,
    released,
    saved,
    told,
)
from tune_operator.lifecycle.decide import decide
from tune_operator.lifecycle.events import waiting_events
from tune_operator.lifecycle.observation import Progress, needs_store
from tune_operator.lifecycle.pod_view import PodView, project
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
)
from tune_trainer.protocol.exit_record import ExitRecord
from tune_trainer.protocol.result import Result


class TestBinding:
    def test_the_first_pod_seen_is_bound(self) -> None:
        decision = step(trial(0, pod_uid=""), pods=(pod(RUNNING, uid="a"),), total=1)
        assert decision.state.trials[0].pod_uid == "a"
        assert decision.urgent

    def test_a_second_pod_of_a_bound_attempt_is_removed(self) -> None:
        both = (pod(RUNNING, uid="b"), pod(RUNNING, uid="pod-1"))
        decision = step(trial(0), pods=both, total=1)
        assert decision.state.trials[0].pod_uid == "pod-1"
        assert released(decision) == ["b"]

    def test_of_two_pods_one_is_bound_and_the_other_removed(self) -> None:
        both = (pod(RUNNING, uid="a"), pod(RUNNING, uid="b"))
        decision = step(trial(0, pod_uid=""), pods=both, total=1)
        assert decision.state.trials[0].pod_uid == "a"
        assert released(decision) == ["b"]

    def test_a_bound_pod_is_known_by_its_uid_whatever_its_labels_say(self) -> None:
        raw = raw_pod(RUNNING)
        raw["metadata"]["labels"]["tuneoperator.io/attempt"] = "9"
        decision = step(trial(0), pods=(project(raw),), total=1)
        assert decision.state.trials[0].open
        assert released(decision) == []

    def test_another_pod_of_the_name_is_not_the_bound_one(self) -> None:
        decision = step(trial(0), pods=(pod(RUNNING, uid="b"),), exits={KEY: None}, total=1)
        made = decision.state.trials[0]
        assert (made.disruptions, made.attempt) == (1, 2)
        assert released(decision) == ["b"]


class TestProgress:
    def test_what_was_reported_is_taken_in_without_hurry(self) -> None:
        news = Progress(1, seq=4, iteration=4, objective=0.5, checkpoint=refs("1-4")[0])
        before = trial(0, node="node-1")
        decision = step(before, pods=(pod(RUNNING),), progress={"00000": news}, total=1)
        made = decision.state.trials[0]
        assert (made.seq, made.iteration, made.objective) == (4, 4, 0.5)
        assert made.checkpoint == Checkpoint(refs("1-4")[0], NOW)
        assert not decision.urgent

    @pytest.mark.parametrize(
        "news",
        [
            pytest.param(Progress(1, seq=9, iteration=9), id="an older attempt"),
            pytest.param(Progress(3, seq=9, iteration=9), id="an attempt nobody began"),
            pytest.param(Progress(2, seq=3, iteration=9), id="a repeat"),
        ],
    )
    def test_who_is_not_current_is_not_heard(self, news: Progress) -> None:
        before = trial(0, attempt=2, seq=5, iteration=5, node="node-1")
        decision = step(before, pods=(pod(RUNNING, attempt=2),), progress={"00000": news}, total=1)
        assert decision.state.trials == (before,)
        assert not decision.urgent

    def test_a_checkpoint_of_another_attempt_is_no_progress(self) -> None:
        news = Progress(2, seq=6, iteration=6, checkpoint=refs("9-99")[0])
        decision = step(
            trial(0, attempt=2), pods=(pod(RUNNING, attempt=2),), progress={"00000": news}, total=1
        )
        assert decision.state.trials[0].checkpoint is None


class TestStoreThatDoesNotAnswer:
    def test_an_ending_waits(self) -> None:
        decision = step(trial(0, node="node-1"), pods=(saved(),), exits={KEY: UNDECIDED}, total=1)
        assert decision.state.trials == (trial(0, node="node-1"),)
        assert decision.actions == ()

    def test_an_ending_nobody_read_about_waits_too(self) -> None:
        decision = step(trial(0), pods=(), total=1)
        assert decision.state.trials == (trial(0),)


NO_ROOM = condition("PodScheduled", "Unschedulable", status="False") | {"message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("waits", "reason", "message"),
    [
        pytest.param(
            pod(RUNNING, deleted=at(-31)),
            "TerminationOverdue",
            "trial 00000 attempt 1: Pod digits-abcde-00000-1 on node node-1 outlives its grace",
            id="overdue",
        ),
        pytest.param(
            pod(phase="Pending", node="", conditions=(NO_ROOM,)),
            "TrialNotScheduled",
            "trial 00000 attempt 1 waits for a node: none takes Pod digits-abcde-00000-1: "
            "kubectl describe pod digits-abcde-00000-1",
            id="unschedulable",
        ),
        pytest.param(pod(phase="Pending", node=""), "", "", id="not looked at yet"),
        pytest.param(pod(RUNNING, deleted=at(-29)), "", "", id="terminating in time"),
    ],
)
def test_people_are_told_what_only_they_can_change(
    waits: PodView, reason: str, message: str
) -> None:
    verdicts = step(trial(0), pods=(waits,), exits={KEY: None}, total=1).verdicts
    said = [event for judged in verdicts for event in waiting_events(*judged)]
    assert [(event.reason, event.message) for event in said] == (
        [(reason, message)] if reason else []
    )


def test_a_record_stopped_that_nobody_ordered_is_a_failure() -> None:
    decision = step(trial(0), pods=(saved(),), exits={KEY: STOPPED}, total=1)
    assert decision.state.trials[0].failures == 1


class TestNothingIsRecorded:
    """What cannot be made durable is not decided."""

    @pytest.mark.parametrize(
        ("view", "now"),
        [
            pytest.param(saved(), NOW, id="over"),
            pytest.param(pod(waiting("ErrImagePull"), phase="Pending"), at(600), id="not started"),
            pytest.param(pod(RUNNING), at(600), id="hung"),
        ],
    )
    def test_an_attempt_stays_as_it_is(self, view: PodView, now: Any) -> None:
        decision = step(
            trial(0, node="node-1"),
            pods=(view,),
            now=now,
            exits={KEY: COMPLETED} if view.terminal else {},
            of=experiment(failure={"progressDeadlineSeconds": 60}),
            heard={KEY: NOW},
            total=1,
            may_record=False,
            may_start=False,
        )
        assert decision.state.trials == (trial(0, node="node-1"),)
        assert decision.actions == ()
        assert not decision.urgent


class TestFence:
    """Row 7: the node is not heard of, and nobody waits for what may still run there."""

    zombie = pod(RUNNING, deleted=at(-31))
    let_go = pod(RUNNING, deleted=at(-31), tracked=False)
    silent = {"node-1": node("Unknown")}  # noqa: RUF012
    bound = trial(0, node="node-1")

    def test_the_ending_is_read_before_it_is_fenced(self) -> None:
        look = observation(self.bound, pods=(self.zombie,), nodes=self.silent)
        assert [(t.name, t.attempt) for t in needs_store(look)] == [KEY]

    def test_the_next_attempt_starts_beside_the_zombie(self) -> None:
        decision = step(
            self.bound,
            pods=(self.zombie,),
            nodes=self.silent,
            exits={KEY: None},
            committed={"00000": refs("1-5")},
            total=1,
        )
        made = decision.state.trials[0]
        assert (made.attempt, made.open, made.pod_uid) == (2, True, "")
        assert (made.disruptions, made.failures, made.plan) == (1, 0, refs("1-5"))
        assert [avoided.node for avoided in made.avoid] == ["node-1"]
        assert decision.starts == (("00000", 2),)
        assert released(decision) == ["pod-1"]
        assert told(decision) == ["TrialPreempted", "TrialResumed"]

    def test_nobody_is_fenced_before_the_store_answered(self) -> None:
        decision = step(
            self.bound, pods=(self.zombie,), nodes=self.silent, exits={KEY: UNDECIDED}, total=1
        )
        assert decision.state.trials == (self.bound,)
        assert decision.actions == ()

    @pytest.mark.parametrize(
        "left",
        [
            pytest.param(let_go, id="still there"),
            pytest.param(saved(tracked=False, deleted=at(-31)), id="over after all"),
        ],
    )
    def test_what_becomes_of_it_is_not_asked_again(self, left: PodView) -> None:
        fresh = pod(RUNNING, attempt=2, uid="pod-2", node="node-2")
        now = trial(0, attempt=2, pod_uid="pod-2", node="node-2")
        look = observation(now, pods=(left, fresh), nodes=self.silent, total=1)
        assert needs_store(look) == ()
        decision = decide(look)
        assert decision.state.trials == (now,)
        assert decision.actions == ()

    def test_the_run_ends_without_waiting_for_it(self) -> None:
        done = idle(0, attempt=2, phase=Phase.TERMINATED)
        assert step(done, pods=(self.let_go,), total=1).state.ended == NOW

    def test_who_was_to_stop_is_stopped_and_starts_nothing(self) -> None:
        before = replace(
            self.bound, stop_intent=StopIntent.SUSPEND, interruption=interrupted(99), streak=1
        )
        decision = step(
            before,
            pods=(self.zombie,),
            nodes=self.silent,
            exits={KEY: None},
            of=experiment(suspend=True),
            total=1,
        )
        made = decision.state.trials[0]
        assert (made.phase, made.open, made.disruptions) == (Phase.PENDING, False, 0)
        assert decision.starts == ()
        assert released(decision) == ["pod-1"]
        assert told(decision) == [], "an earlier interruption is no news"


class TestHung:
    """Row 23: a trainer that runs and says nothing."""

    of = experiment(failure={"progressDeadlineSeconds": 60})

    def test_the_intent_is_recorded_with_its_reason_and_the_pod_deleted(self) -> None:
        decision = step(trial(0), pods=(pod(RUNNING),), of=self.of, heard={KEY: at(-61)}, total=1)
        made = decision.state.trials[0]
        assert (made.stop_intent, made.open, made.failures) == (StopIntent.HUNG, True, 0)
        assert made.interruption is not None
        assert made.interruption.reason == "ProgressDeadlineExceeded"
        assert deleted(decision) == ["pod-1"]

    def test_it_counts_once_and_as_a_failure(self) -> None:
        noted = Interruption(
            "hung", "ProgressDeadlineExceeded", "", row=23, attempt=1, iteration=0, time=at(-9)
        )
        decision = step(
            trial(0, stop_intent=StopIntent.HUNG, interruption=noted),
            pods=(saved(deleted=at(-5)),),
            of=self.of,
            exits={KEY: INTERRUPTED},
            total=1,
        )
        made = decision.state.trials[0]
        assert (made.failures, made.disruptions, made.stop_intent) == (1, 0, StopIntent.NONE)
        assert made.interruption is not None
        assert made.interruption.reason == "ProgressDeadlineExceeded"
        assert told(decision) == ["TrialFailed"]

    def test_before_that_we_look_again_in_time(self) -> None:
        decision = step(
            trial(0, node="node-1"), pods=(pod(RUNNING),), of=self.of, heard={KEY: at(-9)}, total=1
        )
        assert decision.state.trials == (trial(0, node="node-1"),)
        assert decision.look_again == at(51)

    def test_nobody_is_blamed_for_an_operator_that_was_away(self) -> None:
        decision = step(
            trial(0),
            pods=(pod(RUNNING),),
            of=self.of,
            heard={KEY: at(-999)},
            ready_since=at(-9),
            total=1,
        )
        assert decision.state.trials[0].stop_intent is StopIntent.NONE


class TestBeforeTheEviction:
    """Row 21: the trainer is asked to save; the trial is left alone, for it may be withdrawn."""

    @pytest.mark.parametrize(
        ("view", "nodes"),
        [
            pytest.param(pod(RUNNING), {"node-1": node(cordoned=True)}, id="a cordon"),
            pytest.param(
                pod(RUNNING, conditions=(condition("DisruptionTarget", "Any"),)), {}, id="a target"
            ),
        ],
    )
    def test_nothing_changes(self, view: PodView, nodes: Any) -> None:
        before = trial(0, node="node-1")
        decision = step(before, pods=(view,), nodes=nodes, total=1)
        assert [v.row for _, v in decision.verdicts] == [21]
        assert decision.state.trials == (before,)
        assert decision.actions == ()
        assert decision.events == ()


def results(*seqs: int) -> tuple[Result, ...]:
    return tuple(Result(n, {"training_iteration": n, "accuracy": n / 10}) for n in seqs)


def reports(*seqs: int) -> dict[str, Progress]:
    """The bound attempt reported up to the last of these; these are not journaled yet."""
    return {"00000": Progress(1, seq=seqs[-1], iteration=seqs[-1], results=results(*seqs))}


class TestUnexplained:
    """Its Pod was deleted, and it may have gone with its experiment or namespace."""

    GONE_SO = frozenset({"pod-1"})

    def test_an_ending_that_would_be_counted_waits(self) -> None:
        view = pod(deleted=NOW, node="")
        waits = step(trial(0), pods=(view,), exits={KEY: None}, unexplained=self.GONE_SO, total=1)
        assert waits.state.trials == (trial(0),)
        assert not waits.verdicts, "nothing is told or measured of it"
        counted = step(trial(0), pods=(view,), exits={KEY: None}, total=1)
        assert counted.state.trials[0].disruptions == 1

    def test_a_zombie_is_not_fenced(self) -> None:
        view = pod(RUNNING, deleted=at(-500))
        silent = {"node-1": node("Unknown")}
        looks = {"pods": (view,), "exits": {KEY: None}, "nodes": silent, "total": 1}
        assert step(trial(0), **looks).state.trials[0].disruptions == 1
        (waits,) = step(trial(0), **looks, unexplained=self.GONE_SO).state.trials
        assert (waits.attempt, waits.open, waits.disruptions) == (1, True, 0)

    def test_what_completed_is_complete_whoever_deleted_it(self) -> None:
        view = pod(ended(0), phase="Succeeded", deleted=NOW)
        exits = {KEY: COMPLETED}
        made = step(trial(0), pods=(view,), exits=exits, unexplained=self.GONE_SO, total=1)
        assert made.state.trials[0].phase is Phase.TERMINATED

    @pytest.mark.parametrize("intent", [StopIntent.SUSPEND, StopIntent.HUNG])
    def test_a_stop_intent_is_explanation_enough(self, intent: StopIntent) -> None:
        view = pod(ended(0), phase="Succeeded", deleted=NOW)
        stopping = trial(0, stop_intent=intent)
        made = step(
            stopping, pods=(view,), exits={KEY: None}, unexplained=self.GONE_SO, may_start=False
        )
        assert not made.state.trials[0].open


class TestResultsTakenIn:
    """Each result becomes durable once, in order, whoever brought it."""

    def test_from_reports(self) -> None:
        decision = step(trial(0, seq=1), pods=(pod(RUNNING),), progress=reports(2, 3), total=1)
        assert decision.results == {"00000": results(2, 3)}

    def test_what_is_journaled_is_not_taken_again(self) -> None:
        decision = step(trial(0, seq=3), pods=(pod(RUNNING),), progress=reports(2, 3), total=1)
        assert decision.results == {}

    @pytest.mark.parametrize("ending", [COMPLETED, INTERRUPTED, FAILED, None])
    def test_what_no_report_brought_when_the_attempt_is_settled(
        self, ending: ExitRecord | None
    ) -> None:
        """Whatever the ending is; a Pod that crashed without a record has its last manifest."""
        decision = step(
            trial(0, seq=2),
            pods=(crashed(),),
            exits={KEY: ending},
            recovered={KEY: results(1, 2, 3, 4)},
            total=1,
        )
        made = decision.state.trials[0]
        assert decision.results == {"00000": results(3, 4)}
        assert (made.iteration, made.objective) == (4, 0.4)

    def test_both_bring_the_same(self) -> None:
        decision = step(
            trial(0, seq=1),
            pods=(saved(),),
            exits={KEY: COMPLETED},
            progress=reports(2, 3),
            recovered={KEY: results(2, 3, 4)},
            total=1,
        )
        assert decision.results == {"00000": results(2, 3, 4)}

    def test_before_it_is_settled_only_what_was_reported(self) -> None:
        decision = step(
            trial(0),
            pods=(saved(),),
            exits={KEY: UNDECIDED},
            progress=reports(1),
            recovered={KEY: results(1, 2)},
            total=1,
        )
        assert decision.results == {"00000": results(1)}

    def test_the_next_attempt_counts_from_the_beginning(self) -> None:
        decision = step(
            trial(0, seq=2),
            pods=(saved(deleted=at(-5)),),
            exits={KEY: INTERRUPTED},
            committed={"00000": refs("1-3")},
            recovered={KEY: results(3)},
            total=1,
        )
        made = decision.state.trials[0]
        assert (made.attempt, made.seq, made.iteration) == (2, 0, 3)
        assert decision.results == {"00000": results(3)}

    def test_an_older_attempt_brings_nothing(self) -> None:
        decision = step(
            trial(0, attempt=2), pods=(pod(RUNNING, attempt=2),), progress=reports(1, 2), total=1
        )
        assert decision.results == {}

    def test_who_was_left_behind_by_a_deletion_loses_none(self) -> None:
        decision = step(
            trial(0, seq=1, stop_intent=StopIntent.DELETE),
            pods=(pod(RUNNING, deleted=at(110)),),
            of=experiment(deleted=NOW),
            now=at(141),
            exits={KEY: None},
            recovered={KEY: results(2, 3)},
        )
        assert decision.results == {"00000": results(2, 3)}

    @given(st.data())
    @settings(max_examples=100, deadline=None)
    def test_nothing_is_lost_or_doubled(self, data: st.DataObject) -> None:
        journaled = data.draw(st.integers(0, 5))
        reported = data.draw(st.integers(journaled, 8))
        kept_from = data.draw(st.integers(1, journaled + 1))
        first = data.draw(st.integers(1, reported + 1))
        last = data.draw(st.integers(first - 1, 12))
        told_now = range(kept_from, reported + 1)
        decision = step(
            trial(0, seq=journaled),
            pods=(saved(),),
            exits={KEY: COMPLETED},
            progress=reports(*told_now) if told_now else {},
            recovered={KEY: results(*range(first, last + 1))},
            total=1,
        )
        expected = results(*range(journaled + 1, max(reported, last) + 1))
        assert decision.results.get("00000", ()) == expected
