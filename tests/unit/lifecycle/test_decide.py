"""One step of an experiment: binding, starting in order, stopping, releasing, ending."""

from dataclasses import replace
from typing import Any

import pytest

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
    pod,
    raw_pod,
    refs,
    step,
    trial,
    waiting,
)
from tune_operator.lifecycle.actions import (
    DeletePod,
    EmitEvent,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.lifecycle.decide import Decision
from tune_operator.lifecycle.observation import Progress
from tune_operator.lifecycle.pod_view import PodView, project
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
    TrialState,
)

DELETE, START_ERROR = StopIntent.DELETE, StopIntent.START_ERROR
KEY = ("00000", 1)
LATE = at(141)
"""The bound of a deletion at NOW is 140 s: 110 s of grace and 30 s (DESIGN 5.4)."""


def saved(**fields: Any) -> PodView:
    return pod(ended(0), phase="Succeeded", **fields)


def released(decision: Decision) -> list[str]:
    return [a.uid for a in decision.actions if isinstance(a, ReleasePod)]


def deleted(decision: Decision) -> list[str]:
    return [a.uid for a in decision.actions if isinstance(a, DeletePod)]


def told(decision: Decision) -> list[str]:
    return [a.reason for a in decision.actions if isinstance(a, EmitEvent)]


def interrupted(seconds_ago: float, cls: str = "failed") -> Interruption:
    return Interruption(cls, "X", "", row=16, attempt=1, iteration=0, time=at(-seconds_ago))


class TestStarting:
    def test_new_trials_start_in_order_up_to_the_limit(self) -> None:
        decision = step()
        assert decision.starts == (("00000", 1), ("00001", 1))
        assert [t.open for t in decision.state.trials] == [True, True]
        assert decision.state.started == NOW
        assert decision.urgent

    def test_nothing_starts_before_it_may(self) -> None:
        decision = step(may_start=False)
        assert decision.starts == ()
        assert decision.state.trials == ()

    def test_interrupted_trials_come_before_new_ones(self) -> None:
        decision = step(idle(0, attempt=3), trial(1, pod_uid=""), pods=(), total=9)
        assert decision.starts == (("00001", 1), ("00000", 4))

    def test_a_trial_in_backoff_gives_its_place_away(self) -> None:
        waits = idle(0, streak=3, interruption=interrupted(1))
        decision = step(waits, total=3)
        assert decision.starts == (("00001", 1), ("00002", 1))
        assert decision.look_again == at(3)

    def test_after_its_backoff_it_starts(self) -> None:
        decision = step(idle(0, streak=3, interruption=interrupted(4)), total=1)
        assert decision.starts == (("00000", 2),)

    def test_a_lower_limit_starts_nothing_and_stops_nothing(self) -> None:
        pods = tuple(pod(RUNNING, trial=f"0000{i}", uid=f"pod-{i}") for i in range(3))
        running = [trial(i, pod_uid=f"pod-{i}") for i in range(3)]
        decision = step(*running, pods=pods, of=experiment(maxConcurrentTrials=1), total=9)
        assert decision.starts == ()
        assert decision.actions == ()
        assert len(decision.state.open_attempts) == 3

    def test_a_place_that_comes_free_is_filled_in_the_same_step(self) -> None:
        decision = step(
            trial(0),
            trial(1, pod_uid="pod-2"),
            pods=(saved(), pod(RUNNING, trial="00001", uid="pod-2")),
            exits={KEY: COMPLETED},
            total=3,
        )
        assert decision.state.trials[0].phase is Phase.TERMINATED
        assert decision.starts == (("00002", 1),)

    def test_outcome_and_next_intent_are_one_step(self) -> None:
        decision = step(trial(0), pods=(saved(deleted=at(-5)),), exits={KEY: INTERRUPTED}, total=1)
        made = decision.state.trials[0]
        assert (made.disruptions, made.attempt, made.open, made.pod_uid) == (1, 2, True, "")
        assert decision.starts == (("00000", 2),)
        assert released(decision) == ["pod-1"]

    def test_a_resumed_trial_goes_on_from_its_plan(self) -> None:
        before = idle(0, plan=refs("1-10", "1-5"), iteration=14, node="node-1")
        decision = step(before, total=1)
        made = decision.state.trials[0]
        assert (made.iteration, made.node, made.plan) == (10, "", refs("1-10", "1-5"))
        assert told(decision) == ["TrialResumed"]

    def test_attempts_go_above_every_trace(self) -> None:
        stray = pod(RUNNING, attempt=6, uid="stray")
        decision = step(idle(0), pods=(stray,), committed={"00000": refs("1-5", "4-9")}, total=1)
        assert decision.starts == (("00000", 7),)
        assert released(decision) == ["stray"], "now it is known to be outdated"

    @pytest.mark.parametrize("may_start", [True, False])
    def test_a_recorded_intent_is_carried_out_after_a_crash(self, may_start: bool) -> None:
        decision = step(trial(0, pod_uid=""), may_start=may_start, total=1)
        assert decision.starts == ((("00000", 1),) if may_start else ())
        assert decision.state.trials[0].open

    def test_a_lower_number_of_samples_takes_nothing_back(self) -> None:
        decision = step(idle(0, phase=Phase.TERMINATED), idle(1), idle(2), total=1)
        assert decision.starts == (("00001", 2), ("00002", 2))


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


class TestReleasing:
    def test_pods_of_settled_attempts_go(self) -> None:
        decision = step(idle(0, phase=Phase.TERMINATED), pods=(saved(),), total=1)
        assert released(decision) == ["pod-1"]

    def test_a_pod_that_is_going_and_no_longer_ours_is_left_alone(self) -> None:
        going = saved(tracked=False, deleted=at(-5))
        decision = step(idle(0, phase=Phase.TERMINATED), pods=(going,), total=1)
        assert released(decision) == []

    @pytest.mark.parametrize(
        ("given", "known"),
        [
            pytest.param([idle(0, attempt=1)], pod(RUNNING, attempt=2, uid="p"), id="next attempt"),
            pytest.param([], pod(RUNNING, trial="00003", uid="p"), id="next trial"),
        ],
    )
    def test_an_attempt_of_a_newer_status_is_not_touched(
        self, given: list[TrialState], known: PodView
    ) -> None:
        decision = step(*given, pods=(known,), may_start=False)
        assert decision.actions == ()

    def test_no_attempt_follows_a_finished_trial(self) -> None:
        decision = step(
            idle(0, phase=Phase.ERRORED), pods=(pod(RUNNING, attempt=5, uid="p"),), may_start=False
        )
        assert released(decision) == ["p"]

    @pytest.mark.parametrize("label", ["", "somebody", "00099"])
    def test_a_pod_of_no_trial_goes(self, label: str) -> None:
        decision = step(pods=(pod(RUNNING, trial=label, uid="p"),), may_start=False)
        assert released(decision) == ["p"]


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


class TestStartErrors:
    stuck = pod(waiting("ErrImagePull", "no such image"), phase="Pending")

    def test_the_reason_is_noted_and_the_intent_recorded_before_the_deletion(self) -> None:
        decision = step(trial(0), pods=(self.stuck,), now=at(600), total=1)
        made = decision.state.trials[0]
        assert made.stop_intent is START_ERROR
        assert made.interruption is not None
        assert (made.interruption.reason, made.interruption.message) == (
            "ErrImagePull",
            "no such image",
        )
        assert deleted(decision) == ["pod-1"]

    def test_a_recorded_intent_is_not_recorded_again(self) -> None:
        before = trial(0, stop_intent=START_ERROR, interruption=interrupted(5), node="node-1")
        decision = step(before, pods=(self.stuck,), now=at(600), total=1)
        assert decision.state.trials == (before,)
        assert deleted(decision) == ["pod-1"], "the deletion may have been lost in a crash"

    def test_a_stop_by_deletion_never_becomes_a_failure(self) -> None:
        before = trial(0, stop_intent=DELETE)
        decision = step(
            before, pods=(self.stuck,), now=at(600), of=experiment(deleted=at(590)), total=1
        )
        assert decision.state.trials[0].stop_intent is DELETE


class TestDeletion:
    gone = experiment(deleted=NOW)

    def test_running_pods_are_deleted_once_the_intent_is_recorded(self) -> None:
        decision = step(trial(0), pods=(pod(RUNNING),), of=self.gone)
        assert decision.state.trials[0].stop_intent is DELETE
        assert deleted(decision) == ["pod-1"]
        assert decision.starts == ()
        assert not decision.gone
        assert decision.look_again == at(140)

    def test_pods_that_are_going_are_not_deleted_again(self) -> None:
        going = pod(RUNNING, deleted=at(100))
        decision = step(trial(0, stop_intent=DELETE), pods=(going,), of=self.gone)
        assert deleted(decision) == []

    def test_who_was_stopped_before_we_looked_is_stopped_and_not_disrupted(self) -> None:
        """A namespace's deletion, or a foreground one, deletes the Pods first."""
        decision = step(
            trial(0),
            pods=(saved(deleted=at(-5)),),
            of=self.gone,
            exits={KEY: INTERRUPTED},
            committed={"00000": refs("1-7")},
        )
        made = decision.state.trials[0]
        assert (made.phase, made.disruptions, made.plan) == (Phase.PENDING, 0, refs("1-7"))
        assert released(decision) == ["pod-1"]

    def test_a_completion_is_still_one(self) -> None:
        decision = step(trial(0), pods=(saved(),), of=self.gone, exits={KEY: COMPLETED})
        assert decision.state.trials[0].phase is Phase.TERMINATED

    def test_an_intent_without_a_pod_is_dropped(self) -> None:
        decision = step(trial(0, pod_uid=""), of=self.gone)
        assert not decision.state.trials[0].open
        assert decision.gone
        assert isinstance(decision.actions[-1], RemoveExperimentFinalizer)

    def test_the_finalizer_waits_for_the_last_pod(self) -> None:
        decision = step(idle(0), pods=(saved(),), of=self.gone)
        assert released(decision) == ["pod-1"]
        assert not decision.gone
        assert step(idle(0), pods=(), of=self.gone).gone

    def test_a_pod_of_a_newer_status_is_ended_with_grace_and_holds_it_too(self) -> None:
        decision = step(idle(0), pods=(pod(RUNNING, attempt=2, uid="p"),), of=self.gone)
        assert not decision.gone
        (action,) = decision.actions
        assert isinstance(action, DeletePod)
        assert action.uid == "p"

    def test_a_pod_of_a_newer_status_that_has_ended_is_released(self) -> None:
        ended = replace(saved(), attempt=2, uid="p")
        assert released(step(idle(0), pods=(ended,), of=self.gone)) == ["p"]

    @pytest.mark.parametrize(
        "left",
        [
            pytest.param(pod(RUNNING, deleted=at(110)), id="a zombie"),
            pytest.param(saved(), id="one whose record cannot be read"),
            pytest.param(pod(RUNNING, attempt=2), id="one of a newer status"),
        ],
    )
    def test_past_the_bound_the_object_goes_whatever_is_left(self, left: PodView) -> None:
        decision = step(
            trial(0, stop_intent=DELETE),
            pods=(left,),
            of=self.gone,
            exits={KEY: UNDECIDED},
            now=LATE,
            may_start=False,
        )
        assert decision.gone
        kinds = [type(action) for action in decision.actions]
        assert kinds == [ReleasePod, RemoveExperimentFinalizer], "in this order"
        made = decision.state.trials[0]
        assert (made.open, made.pod_uid, made.stop_intent) == (False, "", StopIntent.NONE)

    def test_just_before_the_bound_it_waits(self) -> None:
        decision = step(
            trial(0, stop_intent=DELETE), pods=(pod(RUNNING),), of=self.gone, now=at(139.9)
        )
        assert not decision.gone

    def test_the_bound_allows_for_the_templates_grace(self) -> None:
        template = {
            "spec": {
                "terminationGracePeriodSeconds": 500,
                "containers": [{"name": "trainer", "image": "x"}],
            }
        }
        assert experiment(trainer=None, template=template).stop_bound.total_seconds() == 530
        assert experiment().stop_bound.total_seconds() == 140
        assert experiment(stopGracePeriodSeconds=11).stop_bound.total_seconds() == 31

    def test_an_ended_experiment_goes_at_once(self) -> None:
        assert step(idle(0, phase=Phase.TERMINATED), of=self.gone, total=1).gone


class TestEnding:
    def test_the_last_trial_ends_the_run(self) -> None:
        decision = step(trial(0), pods=(saved(),), exits={KEY: COMPLETED}, total=1)
        assert decision.state.ended == NOW
        assert told(decision) == ["ExperimentCompleted"]

    def test_a_run_whose_every_trial_errored_has_failed(self) -> None:
        broken = experiment(failure={"maxFailures": 0})
        crashed = pod(ended(1), phase="Failed")
        decision = step(trial(0), pods=(crashed,), exits={KEY: FAILED}, total=1, of=broken)
        assert decision.state.ended == NOW
        assert told(decision) == ["TrialErrored", "BudgetExhausted", "ExperimentFailed"]

    def test_a_lower_number_of_samples_lets_it_end(self) -> None:
        finished = [idle(i, phase=Phase.TERMINATED) for i in range(3)]
        assert step(*finished, total=2).state.ended == NOW

    @pytest.mark.parametrize("left", [idle(1), trial(1, pod_uid="")])
    def test_an_unfinished_trial_keeps_it_alive(self, left: TrialState) -> None:
        decision = step(idle(0, phase=Phase.TERMINATED), left, total=2, may_start=False)
        assert decision.state.ended is None

    def test_trials_that_never_started_keep_it_alive(self) -> None:
        decision = step(idle(0, phase=Phase.TERMINATED), total=2, may_start=False)
        assert decision.state.ended is None

    def test_nothing_is_decided_when_there_is_nothing_to_decide(self) -> None:
        decision = step(trial(0, node="node-1"), pods=(pod(RUNNING),), total=1)
        assert decision.actions == ()
        assert decision.starts == ()
        assert not decision.urgent
        assert decision.look_again is None

    def test_a_vanished_checkpoint_is_told_without_blaming_the_budget(self) -> None:
        before = trial(0, checkpoint=Checkpoint(refs("1-5")[0], NOW))
        crashed = pod(ended(1), phase="Failed")
        decision = step(before, pods=(crashed,), exits={KEY: FAILED}, total=2)
        assert told(decision) == ["TrialErrored"]
        event = decision.actions[-1]
        assert isinstance(event, EmitEvent)
        assert "NoValidCheckpoint" in event.message


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
            "trial 00000 attempt 1 waits for a node: 0/3 nodes",
            id="unschedulable",
        ),
        pytest.param(pod(phase="Pending", node=""), "", "", id="not looked at yet"),
        pytest.param(pod(RUNNING, deleted=at(-29)), "", "", id="terminating in time"),
    ],
)
def test_people_are_told_what_only_they_can_change(
    waits: PodView, reason: str, message: str
) -> None:
    said = [a for a in step(trial(0), pods=(waits,), total=1).actions if isinstance(a, EmitEvent)]
    assert [(event.reason, event.message) for event in said] == (
        [(reason, message)] if reason else []
    )


def test_a_record_stopped_that_nobody_ordered_is_a_failure() -> None:
    decision = step(trial(0), pods=(saved(),), exits={KEY: STOPPED}, total=1)
    assert decision.state.trials[0].failures == 1


def test_verdicts_are_handed_out_for_log_and_conditions() -> None:
    decision = step(trial(0), pods=(pod(RUNNING),), total=1)
    assert [(t.name, v.row) for t, v in decision.verdicts] == [("00000", 24)]
