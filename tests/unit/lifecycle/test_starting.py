"""Which trials start, in which order, and what the intent of an attempt says."""

import pytest

from tests.unit.lifecycle.builders import (
    COMPLETED,
    INTERRUPTED,
    NOW,
    RUNNING,
    at,
    experiment,
    idle,
    pod,
    refs,
    step,
    trial,
)
from tests.unit.lifecycle.decisions import (
    KEY,
    interrupted,
    released,
    saved,
    told,
)
from tune_operator.lifecycle.trial_state import (
    Phase,
)


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

    def test_an_attempt_that_only_the_status_knows_is_not_given_out_again(self) -> None:
        """The bucket was restored: its exit record and its Pod's name are another's."""
        decision = step(idle(0, attempt=3), shown={"00000": 7}, total=1)
        assert decision.starts == (("00000", 8),)

    def test_a_label_with_an_absurd_number_moves_no_attempt(self) -> None:
        odd = pod(RUNNING, attempt=99_999, uid="odd")
        decision = step(idle(0, attempt=3), pods=(odd,), total=1)
        assert decision.starts == (("00000", 4),)

    def test_a_trial_in_backoff_gives_its_place_away(self) -> None:
        waits = idle(0, streak=3, interruption=interrupted(1))
        decision = step(waits, total=3)
        assert decision.starts == (("00001", 1), ("00002", 1))
        assert decision.look_again == at(3)

    def test_after_its_backoff_it_starts(self) -> None:
        decision = step(idle(0, streak=3, interruption=interrupted(4)), total=1)
        assert decision.starts == (("00000", 2),)

    def test_no_backoff_from_a_clock_that_is_ahead(self) -> None:
        """Of a predecessor, perhaps by hours: the trial would wait for that."""
        decision = step(idle(0, streak=3, interruption=interrupted(-7200)), total=1)
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

    def test_a_new_trial_has_its_configuration_and_keeps_it(self) -> None:
        before = idle(0, config={"lr": 9})
        decision = step(before, total=2, config=lambda index: {"lr": index})
        assert [t.config for t in decision.state.trials] == [{"lr": 9}, {"lr": 1}]

    def test_the_scheduler_says_who_is_next(self) -> None:
        decision = step(idle(0), total=9, choose_next=max)
        assert decision.starts == (("00001", 1), ("00002", 1))

    def test_the_scheduler_may_say_nobody(self) -> None:
        decision = step(idle(0), total=9, choose_next=lambda _: None)
        assert decision.starts == ()
        assert decision.state.trials == (idle(0),)

    def test_hundreds_start_as_soon_as_they_may(self) -> None:
        decision = step(of=experiment(maxConcurrentTrials=300), total=500)
        assert len(decision.starts) == 300
