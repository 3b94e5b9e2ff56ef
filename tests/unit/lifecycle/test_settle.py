"""Settling: resume plans, counters, streaks, budgets, and the last words of an exit record."""

import math
from typing import Any

import pytest

from tests.unit.lifecycle.builders import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    NOW,
    at,
    ended,
    evidence,
    pod,
    record,
    refs,
    trial,
)
from tune_operator.api.failure import Failure
from tune_operator.lifecycle.classify import classify
from tune_operator.lifecycle.evidence import Evidence
from tune_operator.lifecycle.settle import PLAN_LIMIT, Settled, resume_plan, settle
from tune_operator.lifecycle.trial_state import (
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.exit_record import Outcome
from tune_trainer.protocol.keys import CheckpointRef

CRASHED = evidence(pod(ended(1), phase="Failed"), FAILED)
PREEMPTED = evidence(pod(ended(0), phase="Succeeded", deleted=at(-5)), INTERRUPTED)
REJECTED = evidence(pod(ended(75), phase="Failed"))
SIGNALLED = evidence(pod(ended(0), phase="Succeeded"), INTERRUPTED)
DONE = evidence(pod(ended(0), phase="Succeeded"), COMPLETED)


def after(
    before: TrialState,
    given: Evidence,
    *committed: CheckpointRef,
    max_failures: int = 3,
    metric: str = "accuracy",
) -> Settled:
    failure = Failure.model_validate({"maxFailures": max_failures})
    return settle(before, classify(given), given, committed, failure, metric)


@pytest.mark.parametrize(
    ("attempt", "plan", "committed", "expected"),
    [
        pytest.param(1, "", "", "", id="nothing was ever committed"),
        pytest.param(1, "", "1-5", "1-5", id="one commit"),
        pytest.param(
            1, "", "1-5 1-15 1-10", "1-15 1-10 1-5", id="newest first, whatever LIST says"
        ),
        pytest.param(2, "1-10 1-5", "1-5 1-10", "1-10 1-5", id="no commit: the plan as it was"),
        pytest.param(2, "1-10 1-5", "1-10 2-15", "2-15 1-10 1-5", id="own first, then the plan"),
        pytest.param(
            2, "1-10", "1-10 1-40 2-15", "2-15 1-10", id="a zombie's manifest is no commit"
        ),
        pytest.param(2, "1-10", "1-40", "1-10", id="nor is it one alone"),
        pytest.param(3, "1-10", "2-20", "1-10", id="nor is one of an attempt in between"),
        pytest.param(2, "1-10", "2-15 3-99", "2-15 1-10", id="nor is one of a later attempt"),
        pytest.param(
            2, "1-4 1-3 1-2 1-1", "2-5 2-6", "2-6 2-5 1-4 1-3", id="at most four are kept"
        ),
        pytest.param(1, "", "1-1 1-2 1-3 1-4 1-5", "1-5 1-4 1-3 1-2", id="the newest four"),
        pytest.param(10, "9-30", "10-9 10-10", "10-10 10-9 9-30", id="numbers, not text"),
    ],
)
def test_resume_plan(attempt: int, plan: str, committed: str, expected: str) -> None:
    before = trial(attempt=attempt, plan=refs(*plan.split()))
    made = resume_plan(before, refs(*committed.split()))
    assert made == refs(*expected.split())
    assert len(made) <= PLAN_LIMIT


def counters(given: TrialState) -> tuple[int, int, int]:
    return given.failures, given.disruptions, given.infrastructure


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(CRASHED, (1, 0, 0), id="a failure"),
        pytest.param(PREEMPTED, (0, 1, 0), id="a disruption"),
        pytest.param(REJECTED, (0, 0, 1), id="a rejection"),
        pytest.param(SIGNALLED, (0, 0, 0), id="an interruption"),
        pytest.param(DONE, (0, 0, 0), id="a completion"),
    ],
)
def test_an_ending_counts_once_and_in_one_place(given: Evidence, expected: Any) -> None:
    assert counters(after(trial(), given).trial) == expected


def test_an_attempt_is_closed_and_its_trial_goes_on() -> None:
    before = trial(attempt=2, seq=7, iteration=12, plan=refs("1-5"), stop_intent=StopIntent.NONE)
    settled = after(before, PREEMPTED, *refs("2-10"))
    made = settled.trial
    assert (made.phase, made.open, made.pod_uid, made.seq) == (Phase.PENDING, False, "", 0)
    assert made.attempt == 2
    assert made.plan == refs("2-10", "1-5")
    assert made.checkpoint == Checkpoint(refs("2-10")[0], NOW)
    assert settled.lost_iterations == 2
    why = made.interruption
    assert why is not None
    assert (why.cls, why.row, why.attempt, why.iteration, why.exit_code) == (
        "preempted",
        8,
        2,
        12,
        0,
    )


def test_a_completed_trial_ends_for_good_with_its_reason() -> None:
    given = evidence(pod(ended(137)), record(Outcome.COMPLETED, reason="StoppedByCriteria"))
    settled = after(trial(iteration=30), given, *refs("1-30"))
    made = settled.trial
    assert (made.phase, made.reason, made.ended) == (Phase.TERMINATED, "StoppedByCriteria", NOW)
    assert (made.plan, made.streak, settled.lost_iterations) == ((), 0, 0)
    assert made.checkpoint == Checkpoint(refs("1-30")[0], NOW)


@pytest.mark.parametrize(
    ("spent", "maximum", "given", "phase"),
    [
        pytest.param(0, 0, CRASHED, Phase.ERRORED, id="0 retries: the first failure ends it"),
        pytest.param(2, 3, CRASHED, Phase.PENDING, id="the third of three goes on"),
        pytest.param(3, 3, CRASHED, Phase.ERRORED, id="the fourth does not"),
        pytest.param(3, 3, PREEMPTED, Phase.ERRORED, id="nor if it is a disruption"),
        pytest.param(3, 3, REJECTED, Phase.PENDING, id="a rejection costs nothing"),
        pytest.param(3, 3, SIGNALLED, Phase.PENDING, id="an interruption costs nothing"),
        pytest.param(99, -1, CRASHED, Phase.PENDING, id="-1 never ends it"),
    ],
)
def test_budget_at_the_end_of_an_attempt(
    spent: int, maximum: int, given: Evidence, phase: Phase
) -> None:
    made = after(trial(failures=spent), given, max_failures=maximum).trial
    assert made.phase is phase
    assert made.reason == ("" if phase is Phase.PENDING else classify(given).reason)


def test_a_vanished_checkpoint_is_an_error_and_never_a_start_from_scratch() -> None:
    before = trial(iteration=9, checkpoint=Checkpoint(refs("1-5")[0], at(-60)))
    made = after(before, CRASHED).trial
    assert (made.phase, made.reason, made.ended) == (Phase.ERRORED, "NoValidCheckpoint", NOW)
    assert made.failures == 1, "the attempt still counts"
    assert made.interruption is not None


def test_without_any_checkpoint_a_trial_starts_from_scratch() -> None:
    settled = after(trial(iteration=9), CRASHED)
    assert settled.trial.phase is Phase.PENDING
    assert settled.trial.plan == ()
    assert settled.lost_iterations == 9


@pytest.mark.parametrize(
    ("plan", "committed", "streak"),
    [
        pytest.param("1-5", "1-5", 5, id="no new commit"),
        pytest.param("1-5", "1-5 2-7", 0, id="a new commit starts anew"),
        pytest.param("", "", 5, id="no commit at all"),
        pytest.param("", "2-1", 0, id="the first commit"),
        pytest.param("1-5", "1-9", 5, id="a zombie's commit is none"),
    ],
)
def test_streak(plan: str, committed: str, streak: int) -> None:
    before = trial(attempt=2, streak=4, plan=refs(*plan.split()))
    assert after(before, REJECTED, *refs(*committed.split())).trial.streak == streak


def test_a_stop_on_deletion_neither_counts_nor_spoils_the_streak() -> None:
    given = evidence(pod(ended(143), phase="Failed"), INTERRUPTED, intent=StopIntent.DELETE)
    before = trial(streak=2, stop_intent=StopIntent.DELETE, iteration=7)
    made = after(before, given, *refs("1-7"))
    assert counters(made.trial) == (0, 0, 0)
    assert made.trial.streak == 2
    assert made.trial.stop_intent is StopIntent.NONE
    assert made.trial.plan == refs("1-7")
    assert made.lost_iterations == 0


def test_a_start_error_keeps_the_reason_noted_before_the_deletion() -> None:
    noted = Interruption(
        "not started", "ErrImagePull", "no such image", row=20, attempt=1, iteration=0, time=at(-9)
    )
    given = evidence(None, intent=StopIntent.START_ERROR)
    before = trial(stop_intent=StopIntent.START_ERROR, interruption=noted, node="node-1")
    made = after(before, given).trial
    assert made.failures == 1
    assert made.interruption is not None
    assert (made.interruption.reason, made.interruption.message) == (
        "ErrImagePull",
        "no such image",
    )
    assert (made.interruption.cls, made.interruption.node) == ("failed", "node-1")


def test_an_older_interruption_is_no_note_on_this_attempt() -> None:
    old = Interruption("failed", "ValueError", "", row=16, attempt=1, iteration=0, time=at(-9))
    given = evidence(pod(ended(1), phase="Failed"), intent=StopIntent.START_ERROR)
    before = trial(attempt=2, stop_intent=StopIntent.START_ERROR, interruption=old)
    made = after(before, given).trial
    assert made.interruption is not None
    assert made.interruption.reason == "StartTimeout"


def last(**metrics: Any) -> Evidence:
    words = record(Outcome.INTERRUPTED, signal="SIGTERM", iteration=12, metrics=metrics)
    return evidence(pod(ended(0), phase="Succeeded"), words)


@pytest.mark.parametrize(
    ("metrics", "metric", "objective"),
    [
        pytest.param({"accuracy": 0.9}, "accuracy", 0.9, id="plain"),
        pytest.param({"eval": {"accuracy": 0.9}}, "eval/accuracy", 0.9, id="nested"),
        pytest.param({"accuracy": -math.inf}, "accuracy", -math.inf, id="infinite"),
        pytest.param({"other": 1}, "accuracy", 0.5, id="missing: the last known stands"),
        pytest.param({"accuracy": "high"}, "accuracy", 0.5, id="no number"),
        pytest.param({"accuracy": 10**400}, "accuracy", math.inf, id="beyond any float"),
    ],
)
def test_the_last_result_of_the_record_is_taken_in(
    metrics: dict[str, Any], metric: str, objective: float
) -> None:
    made = after(trial(iteration=10, objective=0.5), last(**metrics), metric=metric).trial
    assert (made.iteration, made.objective) == (12, objective)


def test_a_last_result_of_nan_is_nan() -> None:
    made = after(trial(iteration=10, objective=0.5), last(accuracy=math.nan)).trial
    assert made.objective is not None
    assert math.isnan(made.objective)


def test_a_record_older_than_what_was_reported_changes_nothing() -> None:
    made = after(trial(iteration=13, objective=0.5), last(accuracy=0.9)).trial
    assert (made.iteration, made.objective) == (13, 0.5)


def test_a_record_without_a_result_changes_nothing() -> None:
    made = after(trial(iteration=3, objective=0.5), SIGNALLED).trial
    assert (made.iteration, made.objective) == (3, 0.5)


def test_a_trial_that_never_started_errs_for_the_reason_noted_before_its_pod_was_deleted() -> None:
    noted = Interruption(
        "not started", "ErrImagePull", "no such image", row=20, attempt=1, iteration=0, time=at(-9)
    )
    given = evidence(pod(ended(1), phase="Failed"), intent=StopIntent.START_ERROR)
    before = trial(failures=3, stop_intent=StopIntent.START_ERROR, interruption=noted)
    made = after(before, given).trial
    assert (made.phase, made.reason) == (Phase.ERRORED, "ErrImagePull")
