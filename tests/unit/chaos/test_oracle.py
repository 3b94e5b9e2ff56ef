"""The oracle of `make chaos` must be able to say no: each check meets what it is there for."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import faults, oracle
from tests.chaos.audit import Created
from tests.chaos.faults import NodeFault, OperatorFault, title
from tests.chaos.history import STATUS_LIMIT, StatusHistory
from tests.chaos.ledger import Attempt, Ledger
from tests.chaos.operators import AT_THE_END, BY_ITSELF, LEADING, Exit
from tests.chaos.proxy import Mishap
from tests.chaos.script import Strike
from tune_trainer.protocol.keys import CheckpointRef

TRIAL = "00000"
MAX_FAILURES = 1


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
    assert list(oracle.check_trials(GOOD, {TRIAL: ROW}, [TRIAL], MAX_FAILURES)) == []
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
    (found,) = oracle.check_trials(GOOD, {TRIAL: {**ROW, **changed}}, [TRIAL], MAX_FAILURES)
    assert complaint in found


HOPELESS = [attempt(number, fault=faults.HOPELESS) for number in (1, 2, 3)]
GIVEN_UP = {"state": "Errored", "attempt": 2, "failures": 2}


@pytest.mark.parametrize(
    ("attempts", "changed", "complaints"),
    [
        (2, {}, []),
        (2, {"state": "Terminated"}, ["is Terminated () after 2 failures and disruptions"]),
        (2, {"attempt": 3}, ["3 attempts, 2 were needed"]),
        (1, {"attempt": 1, "failures": 1}, ["is Errored", "1 attempts, 2 were", "0 of its att"]),
        (3, {"attempt": 3, "failures": 3}, ["was cut short 3 times, 2 are its budget"]),
    ],
    ids=["right", "completed", "one attempt more", "given up early", "struck after its end"],
)
def test_a_trial_is_given_up_when_its_budget_is_spent_and_not_before(
    attempts: int, changed: dict[str, Any], complaints: list[str]
) -> None:
    row = {**GIVEN_UP, **changed}
    known = ledger(*HOPELESS[:attempts])
    found = list(oracle.check_trials(known, {TRIAL: row}, [TRIAL], MAX_FAILURES))
    assert len(found) == len(complaints)
    assert all(said in text for said, text in zip(complaints, found, strict=True))


def test_a_given_up_trial_that_completed_is_found() -> None:
    last = attempt(2, fault=faults.HOPELESS, completed=True)
    known = ledger(HOPELESS[0], last)
    (found,) = oracle.check_trials(known, {TRIAL: GIVEN_UP}, [TRIAL], MAX_FAILURES)
    assert "1 of its attempts completed" in found


COMPLETE = {"type": "Complete", "status": "True", "reason": "TrialsErrored"}


@pytest.mark.parametrize(
    ("status", "state", "complaint"),
    [
        ({"conditions": [COMPLETE], "counts": {"errored": 1}}, "Errored", ""),
        ({"conditions": [COMPLETE], "counts": {"errored": 0}}, "Errored", "status counts 0"),
        ({"conditions": [COMPLETE]}, "Terminated", "no trial used up its budget"),
        ({"counts": {"errored": 1}}, "Errored", "is not Complete with TrialsErrored"),
        (
            {"conditions": [{**COMPLETE, "status": "False"}], "counts": {"errored": 1}},
            "Errored",
            "is not Complete",
        ),
        (
            {"conditions": [COMPLETE, {**COMPLETE, "type": "Failed"}], "counts": {"errored": 1}},
            "Errored",
            "is not Complete",
        ),
    ],
    ids=["right", "miscounted", "none given up", "no end", "end not true", "two ends"],
)
def test_a_wrong_end_is_found(status: dict[str, Any], state: str, complaint: str) -> None:
    found = list(oracle.check_end(status, {TRIAL: {**ROW, "state": state}}))
    assert [complaint in text for text in found] == ([True] if complaint else [])


def test_a_missing_row_is_found() -> None:
    assert list(oracle.check_trials(GOOD, {}, [TRIAL], MAX_FAILURES)) == [
        f"trial {TRIAL} has no row"
    ]


def test_a_trial_that_completed_twice_is_found() -> None:
    twice = ledger(attempt(1, completed=True), DONE)
    row = {**ROW, "disruptions": 0}
    found = list(oracle.check_trials(twice, {TRIAL: row}, [TRIAL], MAX_FAILURES))
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
    assert list(oracle.check_script(idle, [])) == []
    idle.skipped["a fault"] = 11
    assert len(list(oracle.check_script(idle, []))) == 1


def test_a_kind_of_fault_that_never_struck_is_found() -> None:
    strikes = [Strike(1, fault, 0) for fault in (NodeFault.LOST, NodeFault.LOST, faults.CRASHED)]
    known = ledger()
    known.struck = Counter({title(faults.CRASHED): 50, title(NodeFault.LOST): 1})
    known.skipped = Counter({title(NodeFault.LOST): 1})
    assert list(oracle.check_script(known, strikes)) == []
    known.struck[title(NodeFault.LOST)] = 0
    known.skipped[title(NodeFault.LOST)] = 2
    (found,) = oracle.check_script(known, strikes)
    assert found == f"{NodeFault.LOST.value}: none of 2 struck, 2 found nobody"


@pytest.mark.parametrize("met", [{}, {Mishap.RESET.value: 9}], ids=["none", "only refused"])
def test_a_server_that_never_erred_is_found(met: dict[str, int]) -> None:
    good = {Mishap.BUSY.value: 1}
    assert list(oracle.check_mishaps({"API server": good, "store": good})) == []
    (found,) = oracle.check_mishaps({"API server": good, "store": met})
    assert found.startswith("store: no request met a mishap")


STAMP = "2026-01-01T00:00:00.000Z"
LOST = f"{STAMP} ERROR tune_operator.app stopping: task leader ended: not renewed for 2.6 s"


def log_of(folder: Path, *lines: str) -> list[Path]:
    log = folder / "operator-a.log"
    log.write_text("\n".join(lines))
    return [log]


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (BY_ITSELF, 0),
        (BY_ITSELF, 2),
        (BY_ITSELF, -9),
        ("SIGSTOP", 0),
        ("SIGTERM", -15),
        ("SIGTERM", -9),
        ("SIGKILL", 0),
        (AT_THE_END, None),
        (AT_THE_END, -11),
    ],
)
def test_an_operator_that_ended_as_it_must_not_is_found(
    told: str, code: int | None, tmp_path: Path
) -> None:
    (found,) = oracle.check_exits({Exit(told, code): 1}, log_of(tmp_path, LOST))
    assert found == f"1 operators ended with {code}, told: {told}"


def test_an_operator_that_failed_and_had_its_lease_is_found(tmp_path: Path) -> None:
    exits = {Exit(BY_ITSELF, 1): 1, Exit("SIGSTOP", 1): 1, Exit("SIGTERM", 0): 2}
    assert list(oracle.check_exits(exits, log_of(tmp_path, LOST, LOST))) == []
    other = LOST.replace("leader ended: not renewed for 2.6 s", "service ended: None")
    (found,) = oracle.check_exits(exits, log_of(tmp_path, LOST, other))
    assert found == "2 operators ended with 1, 1 of them lost the Lease"


def test_a_struck_leader_without_a_successor_is_found(tmp_path: Path) -> None:
    known = ledger()
    known.struck = Counter(title(fault) for fault in faults.OF_THE_LEADER)
    known.struck[title(OperatorFault.KILL_STANDBY)] = 9
    led = [f"{STAMP} INFO {LEADING}tune-operator-{number}" for number in range(4)]
    assert list(oracle.check_leaders(known, log_of(tmp_path, *led))) == []
    (found,) = oracle.check_leaders(known, log_of(tmp_path, *led[:3], led[0]))
    assert found == "3 leaders were struck, and only 3 ever led"


async def test_a_run_that_is_not_over_in_time_is_found() -> None:
    async def play(end: asyncio.Event) -> list[str]:
        await end.wait()
        return ["a problem"]

    over = asyncio.Event()
    (found,) = await oracle.within(0.01, play(over))
    assert "not over 0 s after it began" in found
    over.set()
    assert await oracle.within(60, play(over)) == ["a problem"]


async def test_a_time_out_within_a_run_is_not_its_own() -> None:
    async def play() -> list[str]:
        raise TimeoutError("of a request")

    with pytest.raises(TimeoutError, match="of a request"):
        await oracle.within(60, play())


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


FAILED = f"{STAMP} ERROR tune_operator.runtime.supervisor task leader failed: "
KNOWN = [
    FAILED + "not renewed for 2.6666666666666665 s",
    FAILED + "the Lease is held by tune-operator-1f0c now",
    FAILED + "the Lease is held by nobody now",
    LOST,
    f"{STAMP} ERROR kopf._cogs.clients.watching Request attempt #1/46 failed; will retry: GET x",
    f"{STAMP} ERROR kopf.x Request attempt #2/46 failed; TCP closed; will re-authenticate: GET x",
    f"{STAMP} WARNING tune_operator.kube.leader Lease tune-operator: no answer in time",
]


@pytest.mark.parametrize("line", KNOWN)
def test_what_these_faults_must_cause_is_no_error(line: str, tmp_path: Path) -> None:
    assert list(oracle.check_logs(log_of(tmp_path, line))) == []


@pytest.mark.parametrize(
    "line",
    [
        FAILED + "'NoneType' object is not subscriptable",
        FAILED + "not renewed for 2.6 s: 'NoneType' object is not subscriptable",
        FAILED.replace("task leader", "task service") + "not renewed for 2.6 s",
        LOST.replace("not renewed for 2.6 s", "unsupported operand type(s)"),
        LOST.replace("task leader", "task worker 0"),
        f"{STAMP} ERROR kopf._cogs.clients.watching Request attempt #46/46 failed; escalating: GET",
        f"{STAMP} ERROR tune_operator.worker reconcile failed",
        f"{STAMP} CRITICAL tune_operator.app it is over",
        "Traceback (most recent call last):",
    ],
)
def test_any_other_error_is_found(line: str, tmp_path: Path) -> None:
    assert len(list(oracle.check_logs(log_of(tmp_path, *KNOWN, line)))) == 1
