"""Events: few, named, past tense, and about what is news."""

from typing import Any

import pytest

from tests.unit.lifecycle.builders import NOW, failing, idle, pod, refs, step, trial
from tests.unit.lifecycle.decisions import told
from tune_operator.lifecycle import events
from tune_operator.lifecycle.actions import EmitEvent
from tune_operator.lifecycle.classify import Counts, Then, Verdict
from tune_operator.lifecycle.events import (
    end_events,
    left_events,
    settle_events,
    start_events,
    waiting_events,
)
from tune_operator.lifecycle.trial_state import (
    EXPERIMENT_STOPPED,
    NO_VALID_CHECKPOINT,
    Interruption,
    Phase,
    RunState,
    TrialState,
)

WHY = Interruption(
    "failed", "ValueError", "bad batch", row=16, attempt=1, iteration=7, time=NOW, node="node-1"
)
FAILED = Verdict(16, "failed", Then.RESUME, Counts.FAILURE, "ValueError", "bad batch")
PREEMPTED = Verdict(8, "preempted", Then.RESUME, Counts.DISRUPTION, "Deleted")
INTERRUPTED = Verdict(9, "interrupted", Then.RESUME, Counts.NOTHING, "SIGTERM")
REJECTED = Verdict(14, "rejected", Then.RESUME, Counts.INFRASTRUCTURE, "Unusable")
STOPPED = Verdict(3, "stopped", Then.STOPPED, reason="suspend")
FENCED = Verdict(7, "lost", Then.FENCE, Counts.DISRUPTION, "NodeUnreachable")
FENCED_STOP = Verdict(7, "lost", Then.FENCE, Counts.NOTHING, "NodeUnreachable")
COMPLETED = Verdict(2, "completed", Then.COMPLETE)


def settled(given: TrialState, verdict: Verdict, **failure: Any) -> list[tuple[str, str]]:
    return [(e.type, e.reason) for e in settle_events(given, verdict, failing(**failure))]


@pytest.mark.parametrize(
    ("given", "verdict", "expected"),
    [
        pytest.param(idle(), FAILED, ("Warning", "TrialFailed"), id="failed"),
        pytest.param(idle(), PREEMPTED, ("Warning", "TrialPreempted"), id="preempted"),
        pytest.param(idle(), FENCED, ("Warning", "TrialPreempted"), id="fenced"),
        pytest.param(idle(), REJECTED, ("Warning", "TrialInterrupted"), id="rejected"),
        pytest.param(idle(), INTERRUPTED, ("Normal", "TrialInterrupted"), id="interrupted"),
        pytest.param(idle(), STOPPED, None, id="stopped as we asked"),
        pytest.param(idle(interruption=WHY), STOPPED, None, id="stopped, failed earlier"),
        pytest.param(idle(interruption=WHY), FENCED_STOP, None, id="fenced as it was stopped"),
        pytest.param(idle(phase=Phase.TERMINATED), COMPLETED, None, id="completed"),
        pytest.param(
            idle(phase=Phase.TERMINATED, reason=EXPERIMENT_STOPPED), STOPPED, None, id="run ended"
        ),
    ],
)
def test_what_is_told_of_an_attempt_that_ended(
    given: TrialState, verdict: Verdict, expected: tuple[str, str] | None
) -> None:
    assert settled(given, verdict) == ([expected] if expected else [])


def test_it_says_where_it_ended_and_why() -> None:
    (event,) = settle_events(idle(iteration=7, interruption=WHY), FAILED, failing())
    assert event.message == "trial 00000 attempt 1 ended at iteration 7: ValueError: bad batch"


ERRORED = idle(phase=Phase.ERRORED, reason="ValueError", failures=1, interruption=WHY)


def test_a_spent_budget_is_told_apart() -> None:
    made = settle_events(ERRORED, FAILED, failing(maxFailures=0))
    assert [(event.reason, event.message) for event in made] == [
        ("TrialErrored", "trial 00000 errored in attempt 1: ValueError: bad batch"),
        (
            "BudgetExhausted",
            "trial 00000 had 1 failures and 0 disruptions; spec.failure.maxFailures is 0",
        ),
    ]


def test_a_budget_of_disruptions_names_its_field() -> None:
    preempted = idle(phase=Phase.ERRORED, reason="Deleted", disruptions=3, interruption=WHY)
    section = failing(disruptions={"policy": "Ignore", "max": 2})
    made = settle_events(preempted, PREEMPTED, section)[-1]
    assert made.reason == "BudgetExhausted"
    assert made.message.endswith("spec.failure.maxFailures is 3, spec.failure.disruptions.max is 2")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        pytest.param("FailTrialRule", "ValueError: bad batch", id="a rule"),
        pytest.param(NO_VALID_CHECKPOINT, "a checkpoint was reported", id="no checkpoint"),
    ],
)
def test_who_errored_for_another_reason_had_a_budget(reason: str, words: str) -> None:
    given = idle(phase=Phase.ERRORED, reason=reason, failures=1, interruption=WHY)
    (event,) = settle_events(given, FAILED, failing())
    assert event.reason == "TrialErrored"
    assert words in event.message


@pytest.mark.parametrize(
    ("before", "plan", "words"),
    [
        pytest.param(idle(attempt=1), "1-10", "from the checkpoint of iteration 10", id="saved"),
        pytest.param(idle(attempt=1), "", "from scratch, there was no checkpoint yet", id="none"),
    ],
)
def test_a_later_attempt_says_where_it_goes_on(before: TrialState, plan: str, words: str) -> None:
    begun = trial(attempt=2, plan=refs(plan) if plan else (), iteration=10 if plan else 0)
    (event,) = start_events(before, begun)
    assert (event.type, event.reason) == ("Normal", "TrialResumed")
    assert event.message == f"trial 00000 resumed as attempt 2 {words}"


def test_a_first_attempt_is_no_news() -> None:
    assert start_events(TrialState("00000"), trial()) == []
    assert told(step(total=1)) == []


T, E = idle(0, phase=Phase.TERMINATED), idle(1, phase=Phase.ERRORED)


@pytest.mark.parametrize(
    ("trials", "run", "expected"),
    [
        pytest.param(
            (T, E),
            RunState(),
            EmitEvent("Normal", "ExperimentCompleted", "1 of 2 trials terminated, 1 errored"),
            id="complete",
        ),
        pytest.param(
            (E, E),
            RunState(),
            EmitEvent("Warning", "ExperimentFailed", "all 2 trials errored"),
            id="failed",
        ),
        pytest.param(
            (T, E),
            RunState(stopped="FailFast", stopped_message="1 errored"),
            EmitEvent("Warning", "ExperimentFailed", "FailFast: 1 errored"),
            id="ended for its errors",
        ),
    ],
)
def test_the_end(trials: Any, run: RunState, expected: EmitEvent) -> None:
    assert end_events(trials, run) == [expected]


@pytest.mark.parametrize(
    ("settled", "kind", "reason"),
    [
        (True, "Normal", "ExperimentStopped"),
        (False, "Warning", "ExperimentCheckpointNotWritten"),
    ],
)
def test_who_goes_says_where_the_state_is(settled: bool, kind: str, reason: str) -> None:
    (event,) = left_events(settled=settled, uri="s3://tune/x")
    assert (event.type, event.reason) == (kind, reason)
    assert "s3://tune/x" in event.message


@pytest.mark.parametrize(
    ("row", "reason", "expected"),
    [
        (5, "Overdue", ["TerminationOverdue"]),
        (19, "Unschedulable", ["TrialNotScheduled"]),
        (19, "SchedulingGated", ["TrialNotScheduled"]),
        (19, "Unscheduled", []),
        (4, "", []),
        (20, "ErrImagePull", []),
        (22, "NodeUnknown", []),
        (24, "", []),
    ],
)
def test_what_only_people_can_change(row: int, reason: str, expected: list[str]) -> None:
    made = waiting_events(trial(), Verdict(row, "x", Then.WAIT, reason=reason, message="m"))
    assert [event.reason for event in made] == expected


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("ValueError", "bad", "ValueError: bad"),
        ("ValueError", "ValueError: bad", "ValueError: bad"),
        ("OOMKilled", "", "OOMKilled"),
    ],
)
def test_a_reason_is_said_once(reason: str, message: str, expected: str) -> None:
    assert events.told(reason, message) == expected


def test_words_that_repeat_are_the_same_words() -> None:
    """The recorder tells an event once as long as it reads the same."""
    view = pod(phase="Pending", node="")
    first, again = (step(trial(), pods=(view,), total=1).events for _ in range(2))
    assert first == again
