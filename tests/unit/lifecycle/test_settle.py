"""Settling: resume plans, counters, streaks, budgets, and the last words of an exit record."""

import math
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
    at,
    ended,
    evidence,
    failing,
    node,
    pod,
    record,
    refs,
    rule,
    trial,
)
from tune_operator.lifecycle.classify import classify
from tune_operator.lifecycle.evidence import Evidence
from tune_operator.lifecycle.settle import (
    AVOID_FOR,
    AVOID_LIMIT,
    PLAN_LIMIT,
    Settled,
    resume_plan,
    settle,
)
from tune_operator.lifecycle.trial_state import (
    Avoided,
    Checkpoint,
    Interruption,
    Phase,
    StopIntent,
    TrialState,
)
from tune_trainer.protocol.exit_record import ExitRecord, Outcome
from tune_trainer.protocol.keys import CheckpointRef
from tune_trainer.protocol.result import Result

CRASHED = evidence(pod(ended(1), phase="Failed"), FAILED)
PREEMPTED = evidence(pod(ended(0), phase="Succeeded", deleted=at(-5)), INTERRUPTED)
REJECTED = evidence(pod(ended(75), phase="Failed"))
SIGNALLED = evidence(pod(ended(0), phase="Succeeded"), INTERRUPTED)
DONE = evidence(pod(ended(0), phase="Succeeded"), COMPLETED)


def after(
    before: TrialState,
    given: Evidence,
    *committed: CheckpointRef,
    metric: str = "accuracy",
    recovered: tuple[Result, ...] = (),
    **failure: Any,
) -> Settled:
    """The section ``failure`` is that of the evidence, unless fields of it are given."""
    section = failing(**failure) if failure else given.failure
    return settle(before, classify(given), given, committed, section, metric, recovered)


def unreachable(intent: StopIntent = StopIntent.NONE, **fields: Any) -> Evidence:
    """An overdue Pod on a node that has been silent for long."""
    view = pod(RUNNING, deleted=at(-31), node="node-1")
    return evidence(view, intent=intent, node=node("Unknown"), **fields)


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
            2, "1-4 1-3 1-2 1-1", "2-5 2-6", "2-6 2-5 1-4 1-3", id="four that LIST may not show"
        ),
        pytest.param(
            2, "1-4 1-3 1-2 1-1", "1-1 2-5 2-6", "2-6 2-5 1-4 1-3 1-1", id="more that it shows"
        ),
        pytest.param(1, "", "1-1 1-2 1-3 1-4 1-5", "1-5 1-4 1-3 1-2 1-1", id="all of its own"),
        pytest.param(10, "9-30", "10-9 10-10", "10-10 10-9 9-30", id="numbers, not text"),
    ],
)
def test_resume_plan(attempt: int, plan: str, committed: str, expected: str) -> None:
    before = trial(attempt=attempt, plan=refs(*plan.split()))
    made = resume_plan(before, refs(*committed.split()))
    assert made == refs(*expected.split())
    assert len(made) <= PLAN_LIMIT


def test_a_plan_has_a_limit() -> None:
    committed = tuple(CheckpointRef(1, iteration) for iteration in range(1, 1001))
    made = resume_plan(trial(attempt=1), committed)
    assert made == committed[: -PLAN_LIMIT - 1 : -1]


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
    assert (made.plan, made.streak, settled.lost_iterations) == (refs("1-30"), 0, 0)
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
    made = after(trial(failures=spent), given, maxFailures=maximum).trial
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


@pytest.mark.parametrize(
    ("intent", "phase", "reason", "counts"),
    [
        pytest.param("", Phase.PENDING, "", (0, 1, 0), id="lost"),
        pytest.param("delete", Phase.PENDING, "", (0, 0, 0), id="deleted"),
        pytest.param("suspend", Phase.PENDING, "", (0, 0, 0), id="suspended"),
        pytest.param("stop", Phase.TERMINATED, "ExperimentStopped", (0, 0, 0), id="stopped"),
        pytest.param("hung", Phase.PENDING, "", (1, 0, 0), id="hung"),
        pytest.param("startError", Phase.PENDING, "", (1, 0, 0), id="did not start"),
    ],
)
def test_a_fenced_attempt_is_settled_as_its_stop_intent_says(
    intent: str, phase: Phase, reason: str, counts: tuple[int, int, int]
) -> None:
    before = trial(stop_intent=StopIntent(intent), iteration=7)
    made = after(before, unreachable(StopIntent(intent)), *refs("1-5")).trial
    assert (made.phase, made.reason, counters(made)) == (phase, reason, counts)
    assert (made.open, made.pod_uid, made.stop_intent) == (False, "", StopIntent.NONE)
    assert made.plan == refs("1-5"), "it goes on from what the zombie had committed by then"


@pytest.mark.parametrize(
    ("intent", "phase", "reason", "counts"),
    [
        pytest.param("delete", Phase.PENDING, "", (0, 0, 0), id="deleted"),
        pytest.param("suspend", Phase.PENDING, "", (0, 0, 0), id="suspended"),
        pytest.param("stop", Phase.TERMINATED, "ExperimentStopped", (0, 0, 0), id="stopped"),
        pytest.param("hung", Phase.PENDING, "", (1, 0, 0), id="hung"),
        pytest.param("startError", Phase.PENDING, "", (1, 0, 0), id="did not start"),
    ],
)
def test_an_attempt_that_was_stopped_is_settled_as_its_intent_says(
    intent: str, phase: Phase, reason: str, counts: tuple[int, int, int]
) -> None:
    given = evidence(pod(ended(0), phase="Succeeded"), STOPPED, intent=StopIntent(intent))
    made = after(trial(stop_intent=StopIntent(intent)), given, *refs("1-5")).trial
    assert (made.phase, made.reason, counters(made)) == (phase, reason, counts)


def test_what_a_stopped_run_leaves_can_be_resumed_later() -> None:
    given = evidence(pod(ended(0), phase="Succeeded"), STOPPED, intent=StopIntent.STOP)
    settled = after(trial(iteration=9), given, *refs("1-5", "1-9"))
    assert settled.trial.plan == refs("1-9", "1-5")
    assert settled.trial.checkpoint == Checkpoint(refs("1-9")[0], NOW)
    assert (settled.trial.ended, settled.lost_iterations) == (NOW, 0)


def test_a_stopped_trial_whose_checkpoints_vanished_errs_loudly() -> None:
    given = evidence(pod(ended(0), phase="Succeeded"), STOPPED, intent=StopIntent.STOP)
    before = trial(checkpoint=Checkpoint(refs("1-5")[0], at(-60)))
    made = after(before, given).trial
    assert (made.phase, made.reason) == (Phase.ERRORED, "NoValidCheckpoint")


def test_a_completion_in_the_last_moment_wins_over_the_stop() -> None:
    given = evidence(pod(ended(0), phase="Succeeded"), COMPLETED, intent=StopIntent.STOP)
    made = after(trial(stop_intent=StopIntent.STOP), given).trial
    assert (made.phase, made.reason) == (Phase.TERMINATED, "Completed")


@pytest.mark.parametrize("intent", ["delete", "suspend", "stop"])
@pytest.mark.parametrize(
    "fenced", [pytest.param(False, id="it ended"), pytest.param(True, id="it was fenced")]
)
def test_a_stop_is_no_interruption(intent: str, fenced: bool) -> None:
    old = Interruption("failed", "ValueError", "", row=16, attempt=1, iteration=0, time=at(-9))
    asked = StopIntent(intent)
    ending = evidence(pod(ended(143), phase="Failed"), None, intent=asked)
    before = trial(attempt=2, streak=0 if intent == "stop" else 3, interruption=old)
    made = after(before, unreachable(asked) if fenced else ending, *refs("2-5")).trial
    assert (made.interruption, made.streak, made.avoid) == (old, before.streak, ())


def test_a_hung_trainer_keeps_the_reason_noted_before_its_pod_was_deleted() -> None:
    noted = Interruption(
        "hung", "ProgressDeadlineExceeded", "silent", row=23, attempt=1, iteration=4, time=at(-9)
    )
    given = evidence(pod(ended(137), phase="Failed"), intent=StopIntent.HUNG)
    before = trial(failures=3, stop_intent=StopIntent.HUNG, interruption=noted)
    made = after(before, given).trial
    why = made.interruption
    assert why is not None
    assert (why.cls, why.row, why.reason, why.message, why.exit_code) == (
        "failed",
        3,
        "ProgressDeadlineExceeded",
        "silent",
        137,
    )
    assert (made.phase, made.reason) == (Phase.ERRORED, "ProgressDeadlineExceeded")


@pytest.mark.parametrize(
    ("action", "phase", "reason", "failures", "streak"),
    [
        pytest.param("FailTrial", Phase.ERRORED, "FailTrialRule", 1, 0, id="FailTrial"),
        pytest.param(
            "FailExperiment", Phase.ERRORED, "FailExperimentRule", 1, 0, id="FailExperiment"
        ),
        pytest.param("Ignore", Phase.PENDING, "", 0, 1, id="Ignore pauses, and counts nothing"),
        pytest.param("Count", Phase.PENDING, "", 1, 1, id="Count is an ordinary failure"),
    ],
)
def test_rules(action: str, phase: Phase, reason: str, failures: int, streak: int) -> None:
    given = evidence(pod(ended(42), phase="Failed"), FAILED, rules=[rule(action, 42)])
    made = after(trial(), given).trial
    assert (made.phase, made.reason, made.streak) == (phase, reason, streak)
    assert counters(made) == (failures, 0, 0)
    assert made.interruption is not None
    assert "exit code 42 matches spec.failure.rules[0]" in made.interruption.message


def test_an_ignored_failure_never_exhausts_a_budget() -> None:
    given = evidence(pod(ended(42), phase="Failed"), rules=[rule("Ignore", 42)], maxFailures=0)
    assert after(trial(failures=5), given).trial.phase is Phase.PENDING


IGNORE: dict[str, Any] = {"disruptions": {"policy": "Ignore", "max": 2}}


@pytest.mark.parametrize(
    ("failures", "disruptions", "given", "phase"),
    [
        pytest.param(0, 1, PREEMPTED, Phase.PENDING, id="the second of two disruptions"),
        pytest.param(0, 2, PREEMPTED, Phase.ERRORED, id="the third is one too many"),
        pytest.param(3, 0, PREEMPTED, Phase.PENDING, id="a disruption is no failure"),
        pytest.param(2, 2, CRASHED, Phase.PENDING, id="a failure is no disruption"),
        pytest.param(3, 0, CRASHED, Phase.ERRORED, id="the fourth failure"),
        pytest.param(0, 2, unreachable(), Phase.ERRORED, id="a loss is a disruption"),
    ],
)
def test_disruptions_apart(failures: int, disruptions: int, given: Evidence, phase: Phase) -> None:
    before = trial(failures=failures, disruptions=disruptions)
    assert after(before, given, maxFailures=3, **IGNORE).trial.phase is phase


@pytest.mark.parametrize(
    ("maximum", "policy", "given", "attempts"),
    [
        pytest.param(0, "Count", CRASHED, 1, id="no retry"),
        pytest.param(3, "Count", CRASHED, 4, id="three retries after failures"),
        pytest.param(3, "Count", PREEMPTED, 4, id="three retries after disruptions"),
        pytest.param(3, "Count", unreachable(), 4, id="three retries after losses"),
        pytest.param(3, "Ignore", CRASHED, 4, id="Ignore: three retries after failures"),
        pytest.param(3, "Ignore", PREEMPTED, 6, id="Ignore: five retries after disruptions"),
        pytest.param(-1, "Ignore", PREEMPTED, 6, id="Ignore is bounded even if failures are not"),
        pytest.param(0, "Ignore", PREEMPTED, 6, id="Ignore needs no maxFailures"),
    ],
)
def test_n_retries_are_n_plus_one_attempts(
    maximum: int, policy: str, given: Evidence, attempts: int
) -> None:
    section: dict[str, Any] = {"maxFailures": maximum, "disruptions": {"policy": policy, "max": 5}}
    made, ran = trial(), 0
    while not made.finished and ran < 50:
        made = after(replace(made, open=True, attempt=ran + 1), given, **section).trial
        ran += 1
    assert ran == attempts


def test_minus_one_has_no_end() -> None:
    made = trial()
    for attempt in range(1, 200):
        made = after(replace(made, attempt=attempt), CRASHED, maxFailures=-1).trial
    assert (made.phase, made.failures) == (Phase.PENDING, 199)


def result(seq: int, iteration: int, **metrics: Any) -> Result:
    return Result(seq, {"training_iteration": iteration, **metrics})


def test_results_that_no_report_brought_are_taken_in() -> None:
    found = (result(4, 11, accuracy=0.7), result(5, 12, accuracy=0.8))
    before = trial(iteration=10, objective=0.5, seq=3)
    settled = after(before, PREEMPTED, *refs("1-10"), recovered=found)
    assert (settled.trial.iteration, settled.trial.objective) == (12, 0.8)
    assert settled.lost_iterations == 2
    assert settled.trial.interruption is not None
    assert settled.trial.interruption.iteration == 12
    assert settled.trial.seq == 0, "the next attempt counts anew"


def test_the_last_result_that_has_the_metric_says_what_it_is() -> None:
    found = (result(1, 1, accuracy=0.7), result(2, 2, other=1))
    made = after(trial(), PREEMPTED, recovered=found).trial
    assert (made.iteration, made.objective) == (2, 0.7)


def test_a_foreign_trainer_that_counts_no_iterations_loses_none() -> None:
    made = after(trial(iteration=3), PREEMPTED, recovered=(Result(9, {"accuracy": 0.7}),)).trial
    assert (made.iteration, made.objective) == (3, 0.7)


def test_the_words_of_the_record_come_after_what_was_recovered() -> None:
    words = record(Outcome.INTERRUPTED, signal="SIGTERM", iteration=13, metrics={"accuracy": 0.9})
    given = evidence(pod(ended(0), phase="Succeeded"), words)
    made = after(trial(), given, recovered=(result(1, 12, accuracy=0.8),)).trial
    assert (made.iteration, made.objective) == (13, 0.9)


def gone(name: str, known: ExitRecord | None = None) -> Evidence:
    return evidence(pod(ended(1), phase="Failed", node=name), known)


UNTIL = NOW + AVOID_FOR


def kept_away(given: Evidence, *before: Avoided, name: str = "") -> list[str]:
    return [each.node for each in after(trial(avoid=before, node=name), given).trial.avoid]


@pytest.mark.parametrize(
    ("given", "avoided"),
    [
        pytest.param(CRASHED, ["node-1"], id="a failure"),
        pytest.param(unreachable(), ["node-1"], id="a node that was lost"),
        pytest.param(evidence(None, None), ["node-1"], id="a Pod that vanished"),
        pytest.param(unreachable(StopIntent.HUNG), ["node-1"], id="a trainer that hung"),
        pytest.param(PREEMPTED, [], id="not a preemption"),
        pytest.param(REJECTED, [], id="not an unusable store"),
        pytest.param(SIGNALLED, [], id="not a signal"),
        pytest.param(unreachable(StopIntent.SUSPEND), [], id="not a suspension"),
    ],
)
def test_which_endings_make_a_trial_avoid_its_node(given: Evidence, avoided: list[str]) -> None:
    assert kept_away(given, name="node-1") == avoided


def test_a_node_is_avoided_for_an_hour() -> None:
    made = after(trial(), CRASHED).trial
    assert made.avoid == (Avoided("node-1", UNTIL),)


def test_what_is_over_is_forgotten() -> None:
    past, later = Avoided("node-8", at(0)), Avoided("node-9", at(1))
    assert kept_away(PREEMPTED, past, later) == ["node-9"]


def test_a_node_that_fails_again_is_avoided_anew_and_once() -> None:
    before = (Avoided("node-1", at(5)), Avoided("node-9", at(9)))
    made = after(trial(avoid=before), gone("node-1")).trial
    assert made.avoid == (Avoided("node-9", at(9)), Avoided("node-1", UNTIL))


def test_a_preemption_from_an_avoided_node_changes_nothing() -> None:
    before = (Avoided("node-1", at(5)), Avoided("node-9", at(9)))
    assert after(trial(avoid=before), PREEMPTED).trial.avoid == before


def test_only_the_latest_few_are_avoided() -> None:
    before = tuple(Avoided(f"node-{n}", at(99)) for n in range(5, 5 + AVOID_LIMIT))
    assert kept_away(gone("node-1"), *before) == ["node-6", "node-7", "node-1"]


def test_an_attempt_that_never_had_a_node_avoids_none() -> None:
    vanished = evidence(None, None)
    assert kept_away(vanished) == []


def test_who_is_done_avoids_nothing() -> None:
    before = trial(avoid=(Avoided("node-9", at(9)),))
    assert after(before, DONE).trial.avoid == ()
    assert after(before, CRASHED, maxFailures=0).trial.avoid == ()
