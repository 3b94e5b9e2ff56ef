"""Pods that are nobody's current attempt: let go, kept, or left alone."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.lifecycle.builders import (
    NOW,
    RUNNING,
    at,
    experiment,
    idle,
    observation,
    pod,
    step,
)
from tests.unit.lifecycle.decisions import (
    crashed,
    interrupted,
    kept,
    released,
    saved,
)
from tune_operator.lifecycle.observation import Experiment
from tune_operator.lifecycle.pod_view import PodView
from tune_operator.lifecycle.trial_state import (
    Phase,
    TrialState,
)


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


class TestHeld:
    """By a finalizer of somebody else after its end: people are told which, nobody waits for it."""

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            pytest.param({}, True, id="over and let go"),
            pytest.param({"deleted": at(-10)}, False, id="for a moment only"),
            pytest.param({"tracked": True}, False, id="not let go by us yet"),
            pytest.param({"trainer": RUNNING}, False, id="it still runs"),
            pytest.param({"finalizers": ()}, False, id="by nobody"),
        ],
    )
    def test_is_told_when_it_lasts(self, fields: dict[str, Any], said: bool) -> None:
        given = {"deleted": at(-31), "tracked": False, "finalizers": ("example.com/x",), **fields}
        finalizers = given.pop("finalizers")
        make = pod if "trainer" in given else saved
        view = replace(make(**given), held_by=finalizers)
        told = observation(pods=(view,)).held
        assert ("digits-abcde-00000-1" in told and "example.com/x" in told) is said
        assert bool(told) is said


def finished(index: int, seconds: float = 0, *, attempt: int = 1, **fields: Any) -> PodView:
    """A crashed Pod whose trainer finished then."""
    view = crashed(trial=f"0000{index}", uid=f"pod-{index}", attempt=attempt, **fields)
    return replace(view, trainer=replace(view.trainer, finished=at(seconds)))


class TestKeeping:
    """Pods that people may want to read: of errored trials the newest, others for their TTL."""

    errored = [idle(i, phase=Phase.ERRORED) for i in range(3)]  # noqa: RUF012

    def of(self, **cleanup: int) -> Experiment:
        return experiment(cleanup=cleanup)

    def test_the_newest_stay_without_our_finalizer_and_the_others_go(self) -> None:
        pods = (finished(0, -1), finished(1, -9), finished(2, -5))
        decision = step(*self.errored, pods=pods, of=self.of(keepErroredPods=2), total=3)
        assert kept(decision) == ["pod-0", "pod-2"]
        assert released(decision) == ["pod-1"]

    def test_what_was_let_go_already_needs_nothing_more(self) -> None:
        pods = tuple(finished(i, tracked=False) for i in range(3))
        ended = {"ended": at(-9), "released": True}
        decision = step(*self.errored, pods=pods, total=3, run=ended)
        assert decision.actions == ()
        assert decision.look_again is None
        assert not decision.urgent

    def test_a_newer_one_pushes_the_oldest_out(self) -> None:
        pods = (finished(0, -9, tracked=False), finished(1, -5, tracked=False), finished(2, -1))
        decision = step(*self.errored, pods=pods, of=self.of(keepErroredPods=2), total=3)
        assert kept(decision) == ["pod-2"]
        assert released(decision) == ["pod-0"]

    def test_none_stays_when_none_is_to_be_kept(self) -> None:
        pods = tuple(finished(i) for i in range(3))
        decision = step(*self.errored, pods=pods, of=self.of(keepErroredPods=0), total=3)
        assert released(decision) == ["pod-0", "pod-1", "pod-2"]

    @pytest.mark.parametrize(
        ("given", "view"),
        [
            pytest.param(idle(0, phase=Phase.ERRORED, attempt=2), finished(0), id="earlier one"),
            pytest.param(idle(0, phase=Phase.TERMINATED), finished(0), id="terminated"),
            pytest.param(idle(0, interruption=interrupted(0)), finished(0), id="goes on"),
            pytest.param(idle(0, phase=Phase.ERRORED), pod(RUNNING, uid="pod-0"), id="runs"),
            pytest.param(
                idle(0, phase=Phase.ERRORED), finished(0, deleted=at(-5)), id="being deleted"
            ),
        ],
    )
    def test_only_the_last_pod_of_an_errored_trial_stays(
        self, given: TrialState, view: PodView
    ) -> None:
        decision = step(given, pods=(view,), total=1)
        assert kept(decision) == []
        assert released(decision) == ["pod-0"]

    def test_others_stay_for_their_ttl(self) -> None:
        done = idle(0, phase=Phase.TERMINATED)
        early = step(done, pods=(finished(0),), of=self.of(podTTLSeconds=60), total=1)
        assert kept(early) == ["pod-0"]
        assert early.look_again == at(60)

    def test_without_a_ttl_none_stays_for_a_clock_that_is_ahead(self) -> None:
        done = idle(0, phase=Phase.TERMINATED)
        assert released(step(done, pods=(finished(0, 120),), total=1)) == ["pod-0"]

    def test_after_their_ttl_they_go(self) -> None:
        done = idle(0, phase=Phase.TERMINATED)
        of, rest = self.of(podTTLSeconds=60), (finished(0, tracked=False),)
        assert step(done, pods=rest, of=of, total=1, now=at(59)).actions == ()
        assert released(step(done, pods=rest, of=of, total=1, now=at(60))) == ["pod-0"]

    def test_one_that_completed_and_has_not_exited_yet_stays_as_well(self) -> None:
        """The SDK tells of its completion before its process ends."""
        done = idle(0, phase=Phase.TERMINATED, attempt=1, ended=at(-10))
        early = step(done, pods=(pod(RUNNING),), of=self.of(podTTLSeconds=60), total=1)
        assert (kept(early), released(early)) == (["pod-1"], [])
        assert early.look_again == at(50)

    def test_kept_ones_do_not_hold_up_the_end(self) -> None:
        done = idle(0, phase=Phase.TERMINATED)
        decision = step(done, *self.errored[1:], pods=(finished(1), finished(2)), total=3)
        assert decision.state.ended == NOW
        assert decision.state.released

    @pytest.mark.parametrize("tracked", [True, False])
    def test_all_go_with_the_experiment(self, tracked: bool) -> None:
        of = experiment(deleted=NOW, cleanup={"podTTLSeconds": 999})
        pods = tuple(finished(i, tracked=tracked) for i in range(3))
        decision = step(*self.errored, pods=pods, of=of, total=3)
        assert released(decision) == ["pod-0", "pod-1", "pod-2"]
        assert not decision.gone
