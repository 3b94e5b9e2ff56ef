"""The oracle of `make chaos` must be able to say no: each check meets what it is there for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import faults, oracle
from tests.chaos.audit import Created
from tests.chaos.history import STATUS_LIMIT, StatusHistory
from tests.chaos.ledger import Attempt, Ledger
from tune_trainer.protocol.keys import CheckpointRef

TRIAL = "00000"


def attempt(number: int, **fields: Any) -> Attempt:
    """One that had a session from second 10·number on, and ended 5 seconds later."""
    known = {"plan": (), "opened": 10.0 * number, "ended": 10.0 * number + 5, **fields}
    return Attempt(TRIAL, number, f"uid-{number}", f"pod-{number}", **known)


def ledger(*attempts: Attempt) -> Ledger:
    made = Ledger()
    made.attempts = {one.uid: one for one in attempts}
    return made


EVICTED = attempt(1, fault=faults.EVICTED_SAVES, acknowledged=6, sent=3, durable=2)
DONE = attempt(2, plan=(CheckpointRef(1, 6),), completed=True, sent=2, recorded=2, acknowledged=9)
GOOD = ledger(EVICTED, DONE)
ROW = {"name": TRIAL, "state": "Terminated", "attempt": 2, "disruptions": 1}


def results(number: int, *seqs: int) -> dict[str, Any]:
    listed = [{"seq": seq, "metrics": {"stamp": f"{TRIAL}/{number}/{seq}"}} for seq in seqs]
    return {"type": "results", "trial": TRIAL, "attempt": number, "results": listed}


RECORDS = [results(1, 1, 2), results(2, 1, 2)]


def test_a_right_run_passes() -> None:
    assert list(oracle.check_trials(GOOD, {TRIAL: ROW}, [TRIAL])) == []
    assert list(oracle.check_attempts(GOOD)) == []
    assert list(oracle.check_results(RECORDS, GOOD)) == []


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"disruptions": 2}, "2 disruptions, but 1 were caused"),
        ({"disruptions": 0}, "0 disruptions, but 1 were caused"),
        ({"failures": 1}, "1 failures, but 0 were caused"),
        ({"infrastructure": 1}, "1 infrastructure, but 0 were caused"),
        ({"attempt": 3}, "3 attempts, 2 were needed"),
        ({"state": "Running"}, "is Running"),
        ({"state": "Errored"}, "is Errored"),
    ],
)
def test_a_wrong_row_is_found(changed: dict[str, Any], complaint: str) -> None:
    (found,) = oracle.check_trials(GOOD, {TRIAL: {**ROW, **changed}}, [TRIAL])
    assert complaint in found


def test_a_missing_row_is_found() -> None:
    assert list(oracle.check_trials(GOOD, {}, [TRIAL])) == [f"trial {TRIAL} has no row"]


def test_a_trial_that_completed_twice_is_found() -> None:
    twice = ledger(attempt(1, completed=True), DONE)
    found = list(oracle.check_trials(twice, {TRIAL: {**ROW, "disruptions": 0}}, [TRIAL]))
    assert any("2 of its attempts completed" in text for text in found)


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ({"plan": (CheckpointRef(1, 3),)}, "resumed at iteration 3, 6 was acknowledged"),
        ({"plan": ()}, "resumed at iteration 0"),
        ({"opened": 12.0}, "had its session while"),
        ({"number": 1}, "two Pods had a session as attempt 1"),
    ],
    ids=["older checkpoint", "from scratch", "two at once", "two of one attempt"],
)
def test_a_wrong_successor_is_found(second: dict[str, Any], complaint: str) -> None:
    wrong = copy.copy(DONE)
    for name, value in second.items():
        setattr(wrong, name, value)
    assert any(complaint in text for text in oracle.check_attempts(ledger(EVICTED, wrong)))


def test_a_zombie_may_outlive_its_attempt_and_commit_nothing() -> None:
    forged = CheckpointRef(1, 1006)
    zombie = attempt(1, fault=faults.ON_LOST_NODE, ended=99.0, forged=[forged], refused=1)
    assert list(oracle.check_attempts(ledger(zombie, DONE))) == []
    fooled = attempt(2, plan=(forged,))
    (found,) = oracle.check_attempts(ledger(zombie, fooled))
    assert "what a zombie committed" in found


def test_a_zombie_that_nobody_refused_is_found() -> None:
    zombie = attempt(1, fault=faults.ON_LOST_NODE)
    (found,) = oracle.check_attempts(ledger(zombie, DONE))
    assert "never refused" in found


def test_a_script_that_struck_hardly_anybody_is_found() -> None:
    idle = ledger()
    idle.struck["a fault"] = 50
    idle.skipped["a fault"] = 10
    assert list(oracle.check_script(idle)) == []
    idle.skipped["a fault"] = 11
    assert len(list(oracle.check_script(idle))) == 1


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([results(1, 1, 2, 2), results(2, 1, 2)], "journaled as [1, 2, 2]"),
        ([results(1, 2, 1), results(2, 1, 2)], "journaled as [2, 1]"),
        ([results(1, 1, 3), results(2, 1, 2)], "journaled as [1, 3]"),
        ([results(1, 1), results(2, 1, 2)], "1 results journaled, 2 are due"),
        ([results(1, 1, 2), results(2, 1)], "1 results journaled, 2 are due"),
        ([results(1, 1, 2), results(2, 1, 2, 3)], "3 results journaled, it made 2"),
        ([*RECORDS, results(3, 1)], "which had no session"),
    ],
    ids=["twice", "out of order", "a gap", "durable lost", "recorded lost", "invented", "foreign"],
)
def test_wrong_results_are_found(records: list[dict[str, Any]], complaint: str) -> None:
    assert any(complaint in text for text in oracle.check_results(records, GOOD))


def test_an_altered_result_is_found() -> None:
    records = copy.deepcopy(RECORDS)
    records[0]["results"][0]["metrics"]["stamp"] = "another"
    assert any("journaled as another" in text for text in oracle.check_results(records, GOOD))


def test_a_journal_that_says_something_else_than_the_status_is_found() -> None:
    record = {"type": "trial", "trial": TRIAL, "state": "Terminated", "attempt": 2}
    (found,) = oracle.check_listed([record], [ROW])
    assert "status shows disruptions 1, the journal has 0" in found
    (found,) = oracle.check_listed([], [ROW])
    assert "not in the journal" in found


def status(live: str = "", state: str = "Running") -> dict[str, Any]:
    return {
        "live": {TRIAL: live} if live else {},
        "trials": [{"name": TRIAL, "state": state}],
    }


@pytest.mark.parametrize(
    ("versions", "complaint"),
    [
        ([status("2//"), status("1/u/")], "went back to attempt 1"),
        ([status("1/u/"), status("1/v/")], "two Pods were bound"),
        ([status("1/u/"), status(state="Terminated"), status("2//")], "runs again"),
        ([status(state="Errored"), status(state="Terminated")], "Terminated after it was Errored"),
        ([{"failures": 2}, {"failures": 1}], "failures fell"),
    ],
    ids=["backwards", "two Pods", "risen", "ended twice", "counter fell"],
)
def test_statuses_that_contradict_each_other_are_found(
    versions: list[dict[str, Any]], complaint: str
) -> None:
    history = StatusHistory()
    for version in versions:
        history.take(version)
    assert any(complaint in text for text in oracle.check_status(history))


def test_a_status_too_large_is_found() -> None:
    history = StatusHistory()
    history.take({"message": "x" * STATUS_LIMIT})
    (found,) = oracle.check_status(history)
    assert "bytes" in found


def test_a_pod_bound_to_a_foreign_attempt_is_found() -> None:
    history = StatusHistory()
    history.take(status("1/another/"))
    made = [Created(TRIAL, one.number, one.uid, "") for one in GOOD.attempts.values()]
    (found,) = oracle.check_pods(made, history, GOOD)
    assert "is not who had a session" in found


def test_a_late_pod_does_no_harm_unless_it_is_bound() -> None:
    late = Attempt(TRIAL, 1, "late", "pod-1")
    made = [Created(TRIAL, n, u, "") for n, u in ((1, "uid-1"), (2, "uid-2"), (1, "late"))]
    assert list(oracle.check_pods(made, StatusHistory(), ledger(EVICTED, DONE, late))) == []
    late.plan = ()
    found = list(oracle.check_pods(made, StatusHistory(), ledger(EVICTED, DONE, late)))
    assert any("came late and was bound" in text for text in found)


def test_errors_in_a_log_are_found_and_known_ones_are_not(tmp_path: Path) -> None:
    log = tmp_path / "operator-a.log"
    lines = [
        "2026-01-01T00:00:00.000Z ERROR tune_operator.runtime.supervisor task leader failed: x",
        "Traceback (most recent call last):",
        "2026-01-01T00:00:00.000Z INFO tune_operator.app all is well",
    ]
    log.write_text("\n".join(lines))
    assert list(oracle.check_logs([log])) == []
    log.write_text("\n".join([*lines, "Traceback (most recent call last):"]))
    assert len(list(oracle.check_logs([log]))) == 1
    defect = "2026-01-01T00:00:00.000Z ERROR tune_operator.worker reconcile failed"
    log.write_text("\n".join([*lines, defect, "Traceback (most recent call last):"]))
    assert len(list(oracle.check_logs([log]))) == 1
