"""The end of a run, and of a deleted object: bounded, and nothing is left."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.unit.api.objects import GOOD
from tests.unit.lifecycle.builders import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    NOW,
    RUNNING,
    UNDECIDED,
    at,
    ended,
    experiment,
    idle,
    pod,
    refs,
    step,
    trial,
)
from tests.unit.lifecycle.decisions import (
    KEY,
    deleted,
    leaves,
    released,
    saved,
    told,
)
from tune_operator.lifecycle.actions import (
    DeletePod,
    ReleasePod,
    RemoveExperimentFinalizer,
)
from tune_operator.lifecycle.decide import Decision
from tune_operator.lifecycle.observation import Experiment, Remains
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Phase,
    StopIntent,
    TrialState,
)

DELETE = StopIntent.DELETE
STORAGE = GOOD["storage"]
LATE = at(141)
"""The bound of a deletion at NOW is 140 s: 110 s of grace and 30 s (DESIGN 5.4)."""


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
            pytest.param(pod(RUNNING, attempt=2), id="one whose labels were edited"),
            pytest.param(pod(RUNNING, attempt=2, uid="p"), id="one of a newer status"),
            pytest.param(pod(RUNNING), id="one that nobody told to go"),
        ],
    )
    @pytest.mark.parametrize("may_record", [True, False])
    def test_past_the_bound_the_object_goes_whatever_is_left(
        self, left: PodView, may_record: bool
    ) -> None:
        """Who could not be settled is left to whoever opens the run next."""
        decision = step(
            trial(0, stop_intent=DELETE),
            pods=(left,),
            of=self.gone,
            exits={KEY: UNDECIDED} if may_record else {},
            now=LATE,
            may_start=False,
            may_record=may_record,
            uri="s3://tune/x",
        )
        assert decision.gone
        kinds = [type(action) for action in decision.actions]
        assert kinds == [ReleasePod, RemoveExperimentFinalizer], "in this order"
        made = decision.state.trials[0]
        assert (made.open, made.pod_uid, made.stop_intent) == (True, "pod-1", DELETE)
        assert not decision.state.released
        assert told(decision) == ["ExperimentCheckpointNotWritten"]
        assert "s3://tune/x" in decision.events[0].message

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
        event = decision.events[-1]
        assert "NoValidCheckpoint" in event.message


class TestDeletionWithoutTheStore:
    """It requires neither the term nor the store; what cannot be recorded is not done."""

    gone = experiment(deleted=NOW)

    def look(self, *trials: TrialState, **fields: Any) -> Decision:
        given = {"of": self.gone, "may_record": False, "may_start": False, **fields}
        return step(*trials, **given)

    def test_running_pods_are_deleted_at_once_with_their_grace(self) -> None:
        decision = self.look(trial(0), pods=(pod(RUNNING),))
        (action,) = decision.actions
        assert action == DeletePod("team-a", "digits-abcde-00000-1", "pod-1")
        assert decision.look_again == at(140)

    def test_who_ended_is_not_settled_and_holds_the_object(self) -> None:
        decision = self.look(trial(0), pods=(saved(deleted=at(-5)),))
        assert decision.state.trials[0].open
        assert decision.actions == ()
        assert not decision.gone
        assert not decision.state.released

    def test_a_settled_pod_is_released_meanwhile(self) -> None:
        assert released(self.look(idle(0), pods=(saved(),))) == ["pod-1"]

    @pytest.mark.parametrize(("now", "gone"), [(at(139), False), (at(140), True)])
    def test_it_goes_at_the_bound_and_says_what_was_not_written(
        self, now: datetime, gone: bool
    ) -> None:
        decision = self.look(trial(0), pods=(pod(RUNNING, deleted=at(110)),), now=now)
        assert (decision.gone, leaves(decision)) == (gone, gone)
        assert told(decision) == (["ExperimentCheckpointNotWritten"] if gone else [])

    def test_where_nothing_ever_ran_it_goes_at_once(self) -> None:
        decision = self.look()
        assert decision.gone
        assert leaves(decision)
        assert told(decision) == []

    def test_pods_that_no_status_knows_of_are_not_nothing(self) -> None:
        assert not self.look(pods=(saved(),)).gone

    def test_an_ended_run_needs_no_record(self) -> None:
        done = idle(0, phase=Phase.TERMINATED)
        decision = self.look(done, total=1, run={"ended": at(-60), "released": True})
        assert decision.gone
        assert told(decision) == []

    def test_its_last_words_do_not_wait(self) -> None:
        """What is not urgent may be put off to a look that never comes."""
        assert self.look(idle(0), run={"released": True}, may_record=True).urgent

    def test_without_our_finalizer_there_is_nothing_to_remove(self) -> None:
        decision = self.look(of=replace(self.gone, has_finalizer=False))
        assert decision.gone
        assert decision.actions == ()


class TestDeletionThatIsLate:
    """Past the bound zombies are fenced, as long as the store answers."""

    def late(self, **fields: Any) -> Decision:
        return step(
            trial(0, stop_intent=DELETE, disruptions=1),
            pods=(pod(RUNNING, deleted=at(110)),),
            of=experiment(deleted=NOW),
            now=LATE,
            exits={KEY: None},
            committed={"00000": refs("1-7", "1-5")},
            **fields,
        )

    def test_a_zombie_is_fenced_with_its_plan(self) -> None:
        made = self.late().state.trials[0]
        assert (made.phase, made.open, made.plan) == (Phase.PENDING, False, refs("1-7", "1-5"))
        assert (made.failures, made.disruptions, made.streak) == (0, 1, 0)

    def test_everything_goes_and_the_run_is_released(self) -> None:
        decision = self.late()
        assert released(decision) == ["pod-1"]
        assert leaves(decision)
        assert decision.state.released
        assert told(decision) == ["ExperimentStopped"]

    def test_an_operator_that_was_down_all_the_time_fences_too(self) -> None:
        decision = step(
            trial(0),
            pods=(pod(RUNNING),),
            of=experiment(deleted=NOW),
            now=LATE,
            exits={KEY: None},
        )
        assert not decision.state.open_attempts
        assert [type(a) for a in decision.actions] == [ReleasePod, RemoveExperimentFinalizer]


class TestReleasedRuns:
    """A run whose attempts are all settled and whose owner rests may be taken by somebody else."""

    @pytest.mark.parametrize(
        ("given", "of", "free"),
        [
            pytest.param(idle(0), experiment(), False, id="it goes on"),
            pytest.param(idle(0), experiment(suspend=True), True, id="suspended"),
            pytest.param(idle(0), experiment(deleted=NOW), True, id="deleted"),
            pytest.param(idle(0, phase=Phase.TERMINATED), experiment(), True, id="ended"),
            pytest.param(trial(0), experiment(suspend=True), False, id="suspending"),
            pytest.param(trial(0), experiment(deleted=NOW), False, id="being deleted"),
        ],
    )
    def test_released(self, given: TrialState, of: Experiment, free: bool) -> None:
        pods = (pod(RUNNING),) if given.open else ()
        assert step(given, pods=pods, of=of, total=1).state.released is free

    @pytest.mark.parametrize("before", [True, False])
    def test_it_stays_as_it_was_while_nothing_is_recorded(self, before: bool) -> None:
        decision = step(
            idle(0),
            of=experiment(deleted=NOW),
            may_record=False,
            may_start=False,
            run={"released": before},
        )
        assert decision.state.released is before

    def test_going_on_takes_it_back_before_anything_starts(self) -> None:
        decision = step(idle(0), total=1, run={"released": True})
        assert not decision.state.released
        assert decision.starts == (("00000", 2),)


class TestDeletionPolicy:
    of = experiment(deleted=NOW, storage={**STORAGE, "deletionPolicy": "Delete"})

    @pytest.mark.parametrize(
        ("remains", "may_record"),
        [(Remains.ALL, True), (Remains.GOING, True), (Remains.GOING, False)],
        ids=["settled", "begun", "begun in a life before"],
    )
    def test_the_storage_goes_before_the_object(self, remains: Remains, may_record: bool) -> None:
        decision = step(idle(0), of=self.of, remains=remains, may_record=may_record)
        assert (decision.purge, decision.gone) == (True, False)
        assert not leaves(decision)
        assert decision.look_again == NOW + self.of.stop_bound

    def test_and_then_the_object_goes_without_a_word(self) -> None:
        decision = step(idle(0), of=self.of, remains=Remains.NOTHING, may_record=False)
        assert leaves(decision)
        assert not decision.purge
        assert told(decision) == []

    @pytest.mark.parametrize(
        ("trials", "pods", "may_record"),
        [
            ((trial(0, stop_intent=DELETE),), (pod(RUNNING),), True),
            ((idle(0),), (pod(RUNNING),), True),
            ((idle(0),), (), False),
        ],
        ids=["an attempt is open", "a Pod is left", "the store does not answer"],
    )
    def test_nothing_goes_while(
        self, trials: tuple[TrialState, ...], pods: tuple[PodView, ...], may_record: bool
    ) -> None:
        decision = step(
            *trials, pods=pods, of=self.of, may_record=may_record, exits={KEY: UNDECIDED}
        )
        assert (decision.purge, decision.gone) == (False, False)

    def test_past_the_bound_the_object_goes_and_says_what_stays(self) -> None:
        decision = step(idle(0), of=self.of, now=LATE, remains=Remains.GOING, uri="s3://tune/x")
        assert leaves(decision)
        assert not decision.purge
        assert told(decision) == ["StorageRemains"]
        assert "s3://tune/x" in decision.events[0].message

    def test_by_default_it_stays(self) -> None:
        decision = step(idle(0), of=experiment(deleted=NOW))
        assert leaves(decision)
        assert not decision.purge
