"""Conditions: which hold when, that time stamps move with the status only, and alarms."""

from typing import Any

import pytest

from tests.unit.lifecycle.builders import NOW, at, idle, spec, trial
from tune_operator.lifecycle.actions import EmitEvent
from tune_operator.lifecycle.classify import Then, Verdict
from tune_operator.lifecycle.conditions import (
    MESSAGE_LIMIT,
    Condition,
    Finding,
    Findings,
    advice,
    alarms,
    as_it_was,
    conditions,
    merge,
    no,
    yes,
)
from tune_operator.lifecycle.trial_state import Interruption, Phase, RunState, TrialState

VALID = Finding(ok=True, reason="Valid")
CLAIMED = Finding(ok=True, reason="Claimed")
GOOD = Findings(VALID, CLAIMED)
BAD_SPEC = Findings(Finding(ok=False, reason="InvalidSpec", message="spec.x: no"), Finding())
NO_STORE = Findings(VALID, Finding(ok=False, reason="Unreachable", message="refused"))


def found(
    *trials: TrialState,
    findings: Findings = GOOD,
    total: int = 2,
    ended: bool = False,
    deleting: bool = False,
    suspend: bool = False,
    stopped: str = "",
    verdicts: Any = (),
) -> dict[str, Condition]:
    text = "2 errored" if stopped else ""
    state = RunState(trials, ended=NOW if ended else None, stopped=stopped, stopped_message=text)
    made = conditions(state, total, findings, verdicts, deleting=deleting, suspend=suspend)
    return {condition.type: condition for condition in made if condition.status is not None}


def short(made: dict[str, Condition]) -> dict[str, str]:
    return {kind: f"{'+' if entry.status else '-'}{entry.reason}" for kind, entry in made.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            {},
            {
                "Accepted": "+Valid",
                "StorageAvailable": "+Claimed",
                "Ready": "+AbleToRun",
                "Progressing": "+TrialsRunning",
                "Suspended": "-NotSuspended",
                "Stalled": "-Moving",
            },
            id="running",
        ),
        pytest.param(
            {"findings": Findings()},
            {
                "Progressing": "+TrialsRunning",
                "Suspended": "-NotSuspended",
                "Stalled": "-Moving",
            },
            id="nothing checked yet: the earlier answers stand",
        ),
        pytest.param(
            {"findings": BAD_SPEC},
            {
                "Accepted": "-InvalidSpec",
                "Ready": "-InvalidSpec",
                "Progressing": "-Blocked",
                "Suspended": "-NotSuspended",
                "Stalled": "-Moving",
            },
            id="refused",
        ),
        pytest.param(
            {"findings": NO_STORE},
            {
                "Accepted": "+Valid",
                "StorageAvailable": "-Unreachable",
                "Ready": "-Unreachable",
                "Progressing": "-Blocked",
                "Suspended": "-NotSuspended",
                "Stalled": "-Moving",
            },
            id="no store",
        ),
        pytest.param(
            {"findings": Findings(VALID, CLAIMED, name_conflict="Pod x", quota="cpu", held="y")},
            {
                "Accepted": "+Valid",
                "StorageAvailable": "+Claimed",
                "Ready": "+AbleToRun",
                "Progressing": "+TrialsRunning",
                "Suspended": "-NotSuspended",
                "Stalled": "-Moving",
                "NameConflict": "+ForeignPod",
                "QuotaExceeded": "+QuotaExceeded",
                "PodHeld": "+ForeignFinalizer",
            },
            id="problems with Pods",
        ),
        pytest.param(
            {"deleting": True},
            {
                "Accepted": "+Valid",
                "StorageAvailable": "+Claimed",
                "Ready": "+AbleToRun",
                "Progressing": "-Deleted",
                "Suspended": "-NotSuspended",
                "Stalled": "-Moving",
                "Stopping": "+Deleted",
            },
            id="deleted",
        ),
        pytest.param(
            {"suspend": True},
            {
                "Accepted": "+Valid",
                "StorageAvailable": "+Claimed",
                "Ready": "+AbleToRun",
                "Progressing": "-Suspended",
                "Suspended": "-Suspending",
                "Stalled": "-Moving",
            },
            id="suspending",
        ),
        pytest.param(
            {"stopped": "FailFast"},
            {
                "Accepted": "+Valid",
                "StorageAvailable": "+Claimed",
                "Ready": "+AbleToRun",
                "Progressing": "-FailFast",
                "Suspended": "-NotSuspended",
                "Stopping": "+FailFast",
            },
            id="the whole run is being ended",
        ),
        pytest.param(
            {"stopped": "FailFast", "suspend": True, "deleting": True},
            {
                "Accepted": "+Valid",
                "StorageAvailable": "+Claimed",
                "Ready": "+AbleToRun",
                "Progressing": "-Deleted",
                "Suspended": "-Ending",
                "Stopping": "+Deleted",
            },
            id="everything at once: deletion is the strongest",
        ),
    ],
)
def test_conditions_of_a_running_experiment(given: Any, expected: dict[str, str]) -> None:
    assert short(found(trial(), **given)) == expected


TERMINATED, ERRORED = idle(0, phase=Phase.TERMINATED), idle(1, phase=Phase.ERRORED)


@pytest.mark.parametrize(
    ("trials", "total", "expected"),
    [
        pytest.param([TERMINATED], 1, {"Complete": "+AllTrialsTerminated"}, id="all terminated"),
        pytest.param([TERMINATED, ERRORED], 2, {"Complete": "+TrialsErrored"}, id="some errored"),
        pytest.param(
            [idle(0, phase=Phase.ERRORED), ERRORED], 2, {"Failed": "+AllTrialsErrored"}, id="all"
        ),
        pytest.param(
            [idle(0, phase=Phase.ERRORED)], 9, {"Failed": "+AllTrialsErrored"}, id="raised later"
        ),
        pytest.param([TERMINATED, ERRORED], 1, {"Complete": "+TrialsErrored"}, id="lowered"),
    ],
)
def test_the_terminal_pair(trials: list[TrialState], total: int, expected: dict[str, str]) -> None:
    made = short(found(*trials, total=total, ended=True))
    assert {k: v for k, v in made.items() if k in ("Complete", "Failed")} == expected
    assert (made["Ready"], made["Progressing"]) == ("+Ended", "-Ended")
    assert "Stalled" not in made


@pytest.mark.parametrize(
    ("stopped", "reason"),
    [
        pytest.param("FailFast", "FailFast", id="failFast"),
        pytest.param("MaxFailedTrials", "MaxFailedTrials", id="maxFailedTrials"),
        pytest.param("FailExperiment", "FailExperiment", id="a rule"),
    ],
)
def test_a_run_that_was_ended_for_its_errors_has_failed(stopped: str, reason: str) -> None:
    """Although some of its trials terminated."""
    made = found(TERMINATED, ERRORED, ended=True, stopped=stopped)
    assert made["Failed"].reason == reason
    assert made["Failed"].message.startswith("2 errored; 1 of 2 trials terminated, 1 errored")
    assert not {"Complete", "Stopping", "Stalled"} & set(made)


def test_a_run_that_is_being_ended_says_what_it_waits_for() -> None:
    made = found(trial(), stopped="FailFast")["Stopping"]
    assert made.message == "2 errored; running trials end after their current iteration"


@pytest.mark.parametrize(
    ("given", "ended", "deleting", "expected"),
    [
        pytest.param(trial(), False, False, "-Suspending", id="one still runs"),
        pytest.param(idle(), False, False, "+Suspended", id="none runs"),
        pytest.param(trial(), False, True, "-Ending", id="deleted meanwhile"),
        pytest.param(TERMINATED, True, False, "-Ending", id="its last trials completed"),
    ],
)
def test_suspended(given: TrialState, ended: bool, deleting: bool, expected: str) -> None:
    made = found(given, suspend=True, ended=ended, deleting=deleting, total=1)
    assert short({"Suspended": made["Suspended"]}) == {"Suspended": expected}
    assert "is false" not in made["Suspended"].message or expected == "+Suspended"


def why(cls: str, reason: str = "ValueError", message: str = "bad batch") -> Interruption:
    return Interruption(cls, reason, message, row=16, attempt=1, iteration=0, time=NOW)


@pytest.mark.parametrize(
    ("given", "stalled"),
    [
        pytest.param(idle(streak=1, interruption=why("failed")), True, id="failed at once"),
        pytest.param(idle(streak=0, interruption=why("failed")), False, id="after a commit"),
        pytest.param(idle(streak=1, interruption=why("preempted")), False, id="preempted"),
        pytest.param(idle(streak=9, interruption=why("rejected")), False, id="rejected 9 times"),
        pytest.param(idle(streak=10, interruption=why("rejected")), True, id="rejected 10 times"),
        pytest.param(
            trial(attempt=2, seq=1, streak=1, interruption=why("failed")), False, id="reports again"
        ),
        pytest.param(
            idle(phase=Phase.ERRORED, streak=3, interruption=why("failed")), False, id="given up"
        ),
    ],
)
def test_stalled_by_endings(given: TrialState, stalled: bool) -> None:
    made = found(given)["Stalled"]
    assert made.status is stalled
    if stalled:
        assert made.reason == "ValueError"
        assert made.message == "trial 00000 attempt 1: ValueError: bad batch"


@pytest.mark.parametrize(
    ("reason", "stalled"),
    [
        ("ErrImagePull", True),
        ("CreateContainerConfigError", True),
        ("ContainerCreating", False),
        ("PodInitializing", False),
        ("StartTimeout", False),
        ("SlowStart", True),
    ],
)
def test_stalled_by_a_trainer_that_does_not_start(reason: str, stalled: bool) -> None:
    verdict = Verdict(20, "starting", Then.WAIT, reason=reason, message="no such image")
    made = found(trial(), verdicts=[(trial(), verdict)])["Stalled"]
    assert made.status is stalled


def test_a_reason_is_one_word() -> None:
    strange = why("failed", reason="my module.Error: x")
    assert found(idle(streak=1, interruption=strange))["Stalled"].reason == "mymoduleErrorx"
    assert found(idle(streak=1, interruption=why("failed", "404")))["Stalled"].reason == (
        "TrialFailed"
    )


def test_a_condition_reads_the_same_before_and_after_a_restart() -> None:
    long = why("failed", message="m" * 1024)
    short_again = why("failed", message="m" * 256)
    errored = {"phase": Phase.ERRORED, "streak": 0}
    for fields in (errored, {"streak": 1}):
        ended = fields is errored
        before = found(idle(0, interruption=long, **fields), total=1, ended=ended)
        after = found(idle(0, interruption=short_again, **fields), total=1, ended=ended)
        assert before == after


def written(*current: Condition, previous: Any = (), now: Any = NOW, generation: int = 1) -> Any:
    return merge(list(previous), list(current), generation, now)


def test_the_time_stamp_moves_with_the_status_and_with_nothing_else() -> None:
    first = written(no("Ready", "Checking"))
    same = written(no("Ready", "Blocked", "x"), previous=first, now=at(60), generation=2)
    assert same[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]
    assert (same[0]["reason"], same[0]["observedGeneration"]) == ("Blocked", 2)
    other = written(yes("Ready", "AbleToRun"), previous=same, now=at(90))
    assert other[0]["lastTransitionTime"] == "2026-03-01T12:01:30Z"


def test_nothing_changes_when_nothing_changed() -> None:
    first = written(yes("Ready", "A"), no("Stalled", "B"))
    assert written(yes("Ready", "A"), no("Stalled", "B"), previous=first, now=at(999)) == first


def test_what_nobody_checked_now_stays_as_it_was_and_problems_go() -> None:
    first = written(yes("Accepted", "Valid"), yes("QuotaExceeded", "QuotaExceeded", "cpu"))
    again = written(as_it_was("Accepted"), no("Stalled", "Moving"), previous=first)
    assert [entry["type"] for entry in again] == ["Accepted", "Stalled"]
    assert again[0] == first[0]


def kept(**given: Any) -> set[str]:
    """Conditions that stay as they are shown."""
    made = conditions(RunState((trial(0),)), 2, deleting=False, **given)
    return {condition.type for condition in made if condition.status is None}


def test_what_this_process_has_not_looked_at_yet_is_no_news() -> None:
    fresh = Findings(tried=False)
    every = {"Accepted", "StorageAvailable", "Ready", "Stalled", "NameConflict", "QuotaExceeded"}
    assert kept(findings=fresh, verdicts=None) == every
    assert kept(findings=Findings(VALID, CLAIMED), verdicts=()) == set()


def test_what_was_never_shown_is_not_made_up() -> None:
    assert written(as_it_was("NameConflict")) == []


def test_messages_are_cut() -> None:
    assert len(written(no("Ready", "X", "m" * 5000))[0]["message"]) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        pytest.param([], [no("Accepted", "InvalidSpec")], ["InvalidSpec"], id="bad at once"),
        pytest.param([], [yes("Accepted", "Valid")], [], id="good"),
        pytest.param(
            [no("Accepted", "InvalidSpec")], [no("Accepted", "InvalidSpec")], [], id="still bad"
        ),
        pytest.param(
            [no("Accepted", "InvalidSpec")],
            [no("Accepted", "InvalidPod")],
            ["InvalidPod"],
            id="bad for another reason",
        ),
        pytest.param([no("Stalled", "Moving")], [yes("Stalled", "X")], ["X"], id="turned bad"),
        pytest.param([yes("Stalled", "X")], [no("Stalled", "Moving")], [], id="turned good"),
        pytest.param([], [yes("PodHeld", "ForeignFinalizer")], ["ForeignFinalizer"], id="held"),
        pytest.param([], [yes("Complete", "AllTrialsTerminated")], [], id="no news of success"),
    ],
)
def test_alarms(before: list[Condition], after: list[Condition], reasons: list[str]) -> None:
    made = alarms(written(*before), written(*after))
    assert made == [EmitEvent("Warning", reason, "") for reason in reasons]


def test_an_event_whose_name_is_fixed_says_the_reason_in_its_words() -> None:
    taken = alarms([], written(yes("NameConflict", "ForeignPod", "Pod x exists")))
    away = alarms([], written(no("StorageAvailable", "Unreachable", "refused")))
    assert taken == [EmitEvent("Warning", "NameConflict", "ForeignPod: Pod x exists")]
    assert away == [EmitEvent("Warning", "StorageUnavailable", "Unreachable: refused")]


@pytest.mark.parametrize(
    ("failures", "checkpoint", "before", "reasons"),
    [
        (0, {"frequency": 5}, (), ["NoRetries"]),
        (0, {"atEnd": True}, (no("Accepted", "InvalidPod"),), ["NoRetries"]),
        (0, {"maxLostSeconds": 60}, (), ["NoRetries"]),
        (0, {"frequency": 5}, (yes("Accepted", "Valid"),), []),
        (0, {}, (), []),
        (1, {"frequency": 5}, (), []),
    ],
    ids=["no retries", "at the end only", "by time", "told before", "nothing saved", "retries"],
)
def test_checkpoints_without_retries_are_warned_of_once(
    failures: int, checkpoint: dict[str, Any], before: tuple[Condition, ...], reasons: list[str]
) -> None:
    given = spec(failure={"maxFailures": failures}, checkpoint=checkpoint)
    made = advice(written(*before), written(yes("Accepted", "Valid")), given)
    assert [event.reason for event in made] == reasons


def test_a_run_that_was_stopped_counts_the_trials_that_never_started() -> None:
    ended = RunState(
        (idle(0, phase=Phase.ERRORED),), ended=NOW, stopped="FailFast", stopped_message="1 errored"
    )
    (failed,) = [
        c for c in conditions(ended, 4, Findings(), (), deleting=False) if c.type == "Failed"
    ]
    assert failed.reason == "FailFast"
    assert "0 of 4 trials terminated, 1 errored" in failed.message
