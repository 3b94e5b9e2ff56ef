"""One step as a whole: quiet when nothing happened, in a hurry only when a life changed."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.lifecycle.builders import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    NOW,
    RUNNING,
    at,
    ended,
    experiment,
    idle,
    node,
    observation,
    pod,
    refs,
    step,
    trial,
)
from tests.unit.lifecycle.decisions import KEY, crashed, saved
from tune_operator.lifecycle.decide import decide
from tune_operator.lifecycle.observation import Observation, Progress
from tune_operator.lifecycle.trial_state import Phase, StopIntent


def test_verdicts_are_handed_out_for_log_and_conditions() -> None:
    decision = step(trial(0), pods=(pod(RUNNING),), total=1)
    assert [(t.name, v.row) for t, v in decision.verdicts] == [("00000", 24)]


LOOKS = [
    pytest.param(observation(), id="the first trials"),
    pytest.param(observation(trial(0), pods=(pod(RUNNING),), total=1), id="running"),
    pytest.param(observation(trial(0, pod_uid=""), pods=(pod(RUNNING),), total=1), id="binding"),
    pytest.param(
        observation(
            trial(0), pods=(pod(RUNNING),), total=1, progress={"00000": Progress(1, 4, 4, 0.5)}
        ),
        id="progress",
    ),
    pytest.param(
        observation(trial(0), pods=(saved(),), exits={KEY: COMPLETED}, total=1), id="completed"
    ),
    pytest.param(
        observation(trial(0), pods=(saved(deleted=at(-5)),), exits={KEY: INTERRUPTED}, total=1),
        id="preempted",
    ),
    pytest.param(
        observation(trial(0), pods=(crashed(),), exits={KEY: FAILED}, total=1), id="failed"
    ),
    pytest.param(
        observation(
            trial(0),
            trial(1, pod_uid="pod-2"),
            pods=(crashed(), pod(RUNNING, trial="00001", uid="pod-2")),
            exits={KEY: FAILED},
            of=experiment(failure={"failFast": True, "maxFailures": 0}),
        ),
        id="the end of the whole run",
    ),
    pytest.param(
        observation(trial(0), pods=(pod(RUNNING),), of=experiment(suspend=True)), id="suspending"
    ),
    pytest.param(
        observation(trial(0), pods=(pod(RUNNING),), of=experiment(deleted=NOW)), id="deleted"
    ),
    pytest.param(
        observation(
            trial(0),
            pods=(pod(RUNNING, deleted=at(-31)),),
            nodes={"node-1": node("Unknown")},
            exits={KEY: None},
            total=1,
        ),
        id="fenced",
    ),
    pytest.param(observation(trial(0, pod_uid="gone"), exits={KEY: None}, total=1), id="vanished"),
]


@pytest.mark.parametrize("look", LOOKS)
def test_the_same_look_gives_the_same_decision(look: Observation) -> None:
    assert decide(look) == decide(look)


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_happens_twice(look: Observation) -> None:
    """Looking again at an unchanged world changes nothing, counts nothing and tells nothing."""
    first = decide(look)
    again = decide(replace(look, state=first.state))
    assert again.state == first.state
    assert not again.urgent
    assert again.results == {}
    assert set(again.events) <= set(first.events)


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_due_comes_again_until_it_is_done(look: Observation) -> None:
    first = decide(look)
    again = decide(replace(look, state=first.state))
    assert again.actions == first.actions
    assert again.starts == first.starts


class TestTheSpecificationInForce:
    """A change is recorded before it takes effect."""

    newer = replace(experiment(), generation=7)

    def test_a_change_is_recorded_at_once(self) -> None:
        decision = step(trial(0, node="node-1"), pods=(pod(RUNNING),), of=self.newer, total=1)
        assert decision.state.generation == 7
        assert decision.urgent

    def test_not_while_it_cannot_be(self) -> None:
        decision = step(
            trial(0), pods=(pod(RUNNING),), of=self.newer, may_record=False, may_start=False
        )
        assert decision.state.generation == 1

    def test_not_after_the_end(self) -> None:
        done = idle(0, phase=Phase.TERMINATED)
        decision = step(done, of=self.newer, total=1, run={"ended": NOW, "released": True})
        assert decision.state.generation == 1
        assert not decision.urgent


def test_the_moment_of_the_start_stays() -> None:
    assert step(idle(0), total=1).state.started == at(-300)


@pytest.mark.parametrize(
    ("news", "urgent"),
    [
        pytest.param(Progress(1, 1, 1, 0.5, refs("1-1")[0]), False, id="progress"),
        pytest.param(Progress(1, 1, 1, float("nan")), False, id="not a number"),
    ],
)
def test_progress_may_wait(news: Progress, urgent: bool) -> None:
    decision = step(
        trial(0, node="node-1"), pods=(pod(RUNNING),), total=1, progress={"00000": news}
    )
    assert decision.urgent is urgent


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(pod(RUNNING, node="node-2"), id="it has a node"),
        pytest.param(pod(ended(1), phase="Failed"), id="it ended"),
    ],
)
def test_a_life_that_changed_may_not(view: Any) -> None:
    decision = step(trial(0, node="node-1"), pods=(view,), exits={KEY: FAILED}, total=1)
    assert decision.urgent
    assert decision.state.trials[0].stop_intent is StopIntent.NONE
