"""Attempts that we end: why is recorded first, and reaches the Pod until it is gone."""

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
    ended,
    experiment,
    idle,
    pod,
    refs,
    rule,
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
from tune_operator.lifecycle.actions import DeletePod
from tune_operator.lifecycle.decide import Decision
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import EXPERIMENT_STOPPED, Phase, StopIntent
from tune_trainer.protocol.exit_record import ExitRecord

DELETE, START_ERROR = StopIntent.DELETE, StopIntent.START_ERROR
STOP, SUSPEND = StopIntent.STOP, StopIntent.SUSPEND
GOING = pod(RUNNING, deleted=at(100))


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


class TestSuspend:
    """As a deletion without one: who runs saves and ends, nothing counts, nothing starts."""

    of = experiment(suspend=True)

    def test_the_intent_is_recorded_and_the_pod_deleted_with_its_grace(self) -> None:
        decision = step(trial(0), pods=(pod(RUNNING),), of=self.of)
        assert decision.state.trials[0].stop_intent is SUSPEND
        assert decision.actions == (DeletePod("team-a", "digits-abcde-00000-1", "pod-1"),)
        assert decision.urgent

    def test_nothing_is_acted_upon_before_it_can_be_recorded(self) -> None:
        before = (trial(0, node="node-1"), trial(1, pod_uid=""))
        decision = step(
            *before, pods=(pod(RUNNING),), of=self.of, may_record=False, may_start=False
        )
        assert decision.state.trials == before
        assert decision.actions == ()
        assert decision.starts == ()

    def test_the_deletion_comes_again_while_the_pod_does_not_go(self) -> None:
        before = trial(0, stop_intent=SUSPEND, node="node-1")
        decision = step(before, pods=(pod(RUNNING),), of=self.of)
        assert decision.state.trials == (before,)
        assert deleted(decision) == ["pod-1"], "a crash may have come in between"

    @pytest.mark.parametrize("view", [GOING, saved(deleted=at(-5)), saved()])
    def test_a_pod_that_goes_or_is_over_is_not_deleted_again(self, view: PodView) -> None:
        decision = step(
            trial(0, stop_intent=SUSPEND), pods=(view,), of=self.of, exits={KEY: UNDECIDED}
        )
        assert deleted(decision) == []

    def test_an_attempt_that_was_never_created_is_closed(self) -> None:
        decision = step(trial(0, pod_uid="", attempt=3), of=self.of)
        made = decision.state.trials[0]
        assert (made.phase, made.open, made.attempt) == (Phase.PENDING, False, 3)
        assert decision.starts == ()
        assert decision.state.released

    @pytest.mark.parametrize(
        ("view", "ending"),
        [
            pytest.param(saved(deleted=at(-5)), INTERRUPTED, id="saved and ended"),
            pytest.param(crashed(deleted=at(-5)), FAILED, id="failed on its way out"),
            pytest.param(crashed(), None, id="crashed just before"),
            pytest.param(None, None, id="gone"),
        ],
    )
    def test_who_ends_counts_nowhere_and_stays(
        self, view: PodView | None, ending: ExitRecord | None
    ) -> None:
        decision = step(
            trial(0),
            pods=(view,) if view else (),
            of=self.of,
            exits={KEY: ending},
            committed={"00000": refs("1-7")},
        )
        made = decision.state.trials[0]
        assert (made.phase, made.open, made.plan) == (Phase.PENDING, False, refs("1-7"))
        assert (made.failures, made.disruptions, made.infrastructure, made.streak) == (0, 0, 0, 0)
        assert made.interruption is None
        assert decision.starts == ()
        assert told(decision) == []
        assert decision.state.released

    def test_nothing_starts(self) -> None:
        decision = step(idle(0), of=self.of, total=9)
        assert decision.state.trials == (idle(0),)
        assert decision.starts == ()

    def test_back_before_the_old_pod_ended_nothing_starts(self) -> None:
        before = trial(0, stop_intent=SUSPEND, node="node-1")
        decision = step(before, pods=(GOING,), total=1)
        assert decision.state.trials == (before,)
        assert decision.starts == ()
        assert decision.actions == ()

    def test_back_the_next_attempt_starts_when_the_old_one_was_settled(self) -> None:
        decision = step(
            trial(0, stop_intent=SUSPEND),
            pods=(saved(deleted=at(-5)),),
            exits={KEY: INTERRUPTED},
            committed={"00000": refs("1-7")},
            total=1,
        )
        made = decision.state.trials[0]
        assert (made.attempt, made.open, made.iteration) == (2, True, 7)
        assert (made.stop_intent, made.disruptions) == (StopIntent.NONE, 0)
        assert decision.starts == (("00000", 2),)
        assert released(decision) == ["pod-1"]

    def test_who_completes_meanwhile_is_complete(self) -> None:
        decision = step(
            trial(0, stop_intent=SUSPEND),
            pods=(saved(deleted=at(-5)),),
            of=self.of,
            exits={KEY: COMPLETED},
            total=1,
        )
        assert decision.state.trials[0].phase is Phase.TERMINATED
        assert decision.state.ended == NOW
        assert told(decision) == ["ExperimentCompleted"]

    def test_a_failure_that_was_noted_before_stays_one(self) -> None:
        before = trial(0, stop_intent=START_ERROR)
        decision = step(before, pods=(pod(RUNNING),), of=self.of)
        assert decision.state.trials[0].stop_intent is START_ERROR

    def test_suspended_from_the_beginning_nothing_happens(self) -> None:
        decision = step(of=self.of)
        assert decision.state.trials == ()
        assert decision.state.started is None
        assert decision.actions == ()

    def test_after_the_end_it_has_no_effect(self) -> None:
        done = {"ended": at(-60), "released": True}
        decision = step(idle(0, phase=Phase.TERMINATED), of=self.of, total=1, run=done)
        assert not decision.urgent
        assert decision.actions == ()


ERRORED = idle(0, phase=Phase.ERRORED, reason="ValueError", ended=at(-9))
STOPPED_RUN = {"stopped": "FailFast", "stopped_message": "1 errored"}
SECOND = ("00001", 1)


def second(trainer: Any = RUNNING, **fields: Any) -> PodView:
    """The Pod of the second trial."""
    return pod(trainer, trial="00001", uid="pod-2", **fields)


class TestTooManyErrored:
    """failFast and maxFailedTrials end the whole run."""

    of = experiment(failure={"failFast": True, "maxFailures": 0})

    def test_the_first_errored_trial_ends_the_run(self) -> None:
        decision = step(
            trial(0),
            trial(1, pod_uid="pod-2"),
            pods=(crashed(), second()),
            exits={KEY: FAILED},
            of=self.of,
            total=9,
        )
        assert (decision.state.stopped, decision.state.stopped_message) == (
            "FailFast",
            "1 errored, the last was trial 00000 (ValueError); spec.failure.failFast is true",
        )
        assert decision.state.trials[1].stop_intent is STOP
        assert decision.starts == ()
        assert decision.state.ended is None

    def test_a_pod_that_was_about_to_be_created_is_not(self) -> None:
        """Its trial comes into its turn in the very step that ends the run."""
        decision = step(
            trial(0),
            trial(1, pod_uid=""),
            pods=(crashed(),),
            exits={KEY: FAILED},
            of=self.of,
            total=9,
        )
        assert decision.state.trials[1].reason == EXPERIMENT_STOPPED
        assert decision.starts == ()

    @pytest.mark.parametrize(
        ("allowed", "errored", "ends"),
        [(-1, 4, False), (0, 0, False), (0, 1, True), (1, 1, False), (1, 2, True), (2, 3, True)],
    )
    def test_one_more_than_allowed_ends_the_run(
        self, allowed: int, errored: int, ends: bool
    ) -> None:
        given = [idle(i, phase=Phase.ERRORED) for i in range(errored)]
        decision = step(*given, of=experiment(failure={"maxFailedTrials": allowed}), total=9)
        assert decision.state.stopped == ("MaxFailedTrials" if ends else "")

    def test_people_are_told_which_was_the_last_and_what_the_limit_is(self) -> None:
        late = idle(0, phase=Phase.ERRORED, reason="OOMKilled", ended=at(-1))
        early = idle(1, phase=Phase.ERRORED, reason="ValueError", ended=at(-9))
        decision = step(late, early, of=experiment(failure={"maxFailedTrials": 1}), total=9)
        assert decision.state.stopped_message == (
            "2 errored, the last was trial 00000 (OOMKilled); spec.failure.maxFailedTrials is 1"
        )

    def test_the_first_reason_stays(self) -> None:
        decision = step(
            ERRORED,
            trial(1, pod_uid="pod-2"),
            pods=(second(),),
            of=self.of,
            run={"stopped": "MaxFailedTrials", "stopped_message": "as it was"},
        )
        assert (decision.state.stopped, decision.state.stopped_message) == (
            "MaxFailedTrials",
            "as it was",
        )

    def test_after_the_end_a_lower_limit_has_no_effect(self) -> None:
        done = {"ended": at(-60), "released": True}
        given = (idle(0, phase=Phase.TERMINATED), replace(idle(1), phase=Phase.ERRORED))
        decision = step(*given, of=self.of, total=2, run=done)
        assert decision.state.stopped == ""
        assert not decision.urgent

    def test_when_it_was_the_last_trial_the_run_ends_as_failed_at_once(self) -> None:
        decision = step(
            idle(0, phase=Phase.TERMINATED),
            trial(1, pod_uid="pod-2"),
            pods=(second(ended(1), phase="Failed"),),
            exits={SECOND: FAILED},
            of=self.of,
            total=2,
        )
        assert (decision.state.stopped, decision.state.ended) == ("FailFast", NOW)
        assert told(decision)[-1] == "ExperimentFailed"


class TestRules:
    def failing(self, action: str) -> Decision:
        return step(
            trial(0),
            trial(1, pod_uid="pod-2"),
            pods=(pod(ended(42), phase="Failed"), second()),
            exits={KEY: None},
            of=experiment(failure={"rules": [rule(action, 42)]}),
            total=2,
        )

    def test_fail_experiment_ends_trial_and_run(self) -> None:
        decision = self.failing("FailExperiment")
        first, other = decision.state.trials
        assert (first.phase, first.reason) == (Phase.ERRORED, "FailExperimentRule")
        assert decision.state.stopped == "FailExperiment"
        assert decision.state.stopped_message.startswith("trial 00000: ")
        assert "42" in decision.state.stopped_message
        assert other.stop_intent is STOP

    def test_fail_trial_ends_the_trial_alone(self) -> None:
        decision = self.failing("FailTrial")
        first, other = decision.state.trials
        assert (first.phase, first.reason) == (Phase.ERRORED, "FailTrialRule")
        assert decision.state.stopped == ""
        assert other.stop_intent is StopIntent.NONE


class TestStoppedRuns:
    """The end reaches a trainer as the answer to its next result, and its Pod gets no signal."""

    def test_who_trains_is_not_deleted(self) -> None:
        decision = step(ERRORED, trial(1, pod_uid="pod-2"), pods=(second(),), run=STOPPED_RUN)
        assert decision.state.trials[1].stop_intent is STOP
        assert decision.actions == ()

    def test_who_has_not_begun_is_deleted(self) -> None:
        unstarted = second(waiting("ContainerCreating"), phase="Pending")
        decision = step(ERRORED, trial(1, pod_uid="pod-2"), pods=(unstarted,), run=STOPPED_RUN)
        assert decision.state.trials[1].stop_intent is STOP
        assert deleted(decision) == ["pod-2"]

    def test_an_attempt_that_was_never_created_is_not(self) -> None:
        decision = step(ERRORED, trial(1, pod_uid=""), run=STOPPED_RUN)
        assert decision.starts == ()
        assert decision.state.trials[1].reason == EXPERIMENT_STOPPED

    def test_nothing_starts_in_free_places(self) -> None:
        decision = step(
            ERRORED, idle(1), trial(2, pod_uid="pod-2"), pods=(second(),), total=9, run=STOPPED_RUN
        )
        assert decision.starts == ()
        assert len(decision.state.trials) == 3

    def test_nobody_is_stopped_before_it_can_be_recorded(self) -> None:
        before = trial(1, pod_uid="pod-2", node="node-1")
        decision = step(
            ERRORED,
            before,
            pods=(second(waiting("ContainerCreating"), phase="Pending"),),
            run=STOPPED_RUN,
            may_record=False,
            may_start=False,
        )
        assert decision.state.trials[1] == before
        assert decision.actions == ()

    @pytest.mark.parametrize(
        ("view", "ending"),
        [
            pytest.param(second(ended(0), phase="Succeeded"), STOPPED, id="as it was told"),
            pytest.param(
                second(ended(0), phase="Succeeded", deleted=at(-5)), INTERRUPTED, id="preempted"
            ),
            pytest.param(second(ended(1), phase="Failed"), FAILED, id="crashed"),
            pytest.param(None, None, id="gone"),
        ],
    )
    def test_who_ends_is_terminated_and_may_be_resumed_later(
        self, view: PodView | None, ending: ExitRecord | None
    ) -> None:
        decision = step(
            ERRORED,
            trial(1, pod_uid="pod-2", stop_intent=STOP),
            pods=(view,) if view else (),
            exits={SECOND: ending},
            committed={"00001": refs("1-7")},
            run=STOPPED_RUN,
        )
        made = decision.state.trials[1]
        assert (made.phase, made.reason) == (Phase.TERMINATED, EXPERIMENT_STOPPED)
        assert (made.failures, made.disruptions, made.plan) == (0, 0, refs("1-7"))

    def test_a_trainer_that_hangs_gets_a_signal_after_all(self) -> None:
        """It reports nothing, so it would never hear that it should stop."""
        decision = step(
            trial(0, stop_intent=STOP),
            pods=(pod(RUNNING),),
            of=experiment(failure={"progressDeadlineSeconds": 10}),
            heard={KEY: at(-11)},
            total=1,
        )
        assert deleted(decision) == ["pod-1"]
        assert decision.state.trials[0].stop_intent is STOP

    def test_who_completes_is_complete(self) -> None:
        decision = step(
            ERRORED,
            trial(1, pod_uid="pod-2", stop_intent=STOP),
            pods=(second(ended(0), phase="Succeeded"),),
            exits={SECOND: replace(COMPLETED, trial="00001")},
            run=STOPPED_RUN,
        )
        assert decision.state.trials[1].reason == "Completed"

    def test_the_last_to_end_ends_the_run_and_whoever_waits(self) -> None:
        decision = step(ERRORED, idle(1, plan=refs("1-5")), total=9, run=STOPPED_RUN)
        made = decision.state.trials[1]
        assert (made.phase, made.reason, made.ended) == (Phase.TERMINATED, EXPERIMENT_STOPPED, NOW)
        assert made.plan == refs("1-5")
        assert decision.state.ended == NOW
        assert decision.state.released
        assert [(event.reason, event.message) for event in decision.events] == [
            ("ExperimentFailed", "FailFast: 1 errored")
        ]

    def test_whoever_waits_is_left_alone_until_then(self) -> None:
        decision = step(
            ERRORED, idle(1), trial(2, pod_uid="pod-2"), pods=(second(),), run=STOPPED_RUN
        )
        assert decision.state.trials[1] == idle(1)
        assert decision.state.ended is None

    def test_a_suspension_on_top_changes_nothing(self) -> None:
        decision = step(
            ERRORED,
            trial(1, pod_uid="pod-2"),
            pods=(second(),),
            of=experiment(suspend=True),
            run=STOPPED_RUN,
        )
        assert decision.state.trials[1].stop_intent is STOP
        assert decision.actions == ()

    def test_who_was_being_suspended_ends_with_the_run(self) -> None:
        decision = step(
            ERRORED,
            trial(1, pod_uid="pod-2", stop_intent=SUSPEND),
            pods=(second(ended(0), phase="Succeeded", deleted=at(-5)),),
            exits={SECOND: INTERRUPTED},
            of=experiment(suspend=True),
            run=STOPPED_RUN,
        )
        assert decision.state.trials[1].reason == EXPERIMENT_STOPPED
        assert decision.state.ended == NOW

    def test_a_deletion_does_not_wait_for_the_next_result(self) -> None:
        decision = step(
            ERRORED,
            trial(1, pod_uid="pod-2", stop_intent=STOP),
            pods=(second(),),
            of=experiment(deleted=NOW),
            run=STOPPED_RUN,
        )
        assert deleted(decision) == ["pod-2"]
