"""Says whether a run was right: what the operator tells against what really happened."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.audit import Created
from tests.chaos.faults import OF_THE_LEADER, ON_LOST_NODE, VANISHED, Cost, title
from tests.chaos.history import STATUS_LIMIT, StatusHistory
from tests.chaos.journal import Record, rows
from tests.chaos.ledger import Attempt, Ledger
from tests.chaos.operators import AT_THE_END, BY_ITSELF, LEADING, Exit
from tests.chaos.proxy import Mishap
from tests.chaos.script import Strike

COUNTED = (Cost.FAILURE, Cost.DISRUPTION, Cost.INFRASTRUCTURE)
BUDGETED = (Cost.FAILURE, Cost.DISRUPTION)

SKIPPED_SHARE = 5

LEASE_LOST = r"(the Lease is held by \S+ now|not renewed for [\d.]+ s)$"
STOPPED_WITHOUT_LEASE = rf"^tune_operator\.app stopping: task leader ended: {LEASE_LOST}"
EXPECTED_ERRORS: Mapping[str, str] = {
    rf"^tune_operator\.runtime\.supervisor task leader failed: {LEASE_LOST}": (
        "who cannot renew its Lease in time ends, as it must"
    ),
    STOPPED_WITHOUT_LEASE: "the same, in the last line of the process",
    r"^kopf\S+ Request attempt #\d+/\d+ failed; (TCP closed; will re-authenticate|will retry): ": (
        "Kopf calls each request that it repeats an error"
    ),
}
"""ERROR lines of an operator that these faults must cause, each with its reason.

None of them has a traceback: what a defect raises has one.
"""

EXITS: Mapping[str, frozenset[int]] = {
    BY_ITSELF: frozenset({1}),  # it lost its Lease
    "SIGSTOP": frozenset({1}),  # the same, when it woke
    "SIGTERM": frozenset({0, 1}),  # it may have lost its Lease a moment before
    "SIGKILL": frozenset({-9, 1}),  # as above
    AT_THE_END: frozenset({0, 1, -15}),  # -15: it had only just been started again
}
"""Exit codes by what the process was told. Each 1 must be one that lost its Lease."""

ERRORS = ("ERROR", "CRITICAL")
_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+Z (?P<level>[A-Z]+) (?P<logger>\S+) (?P<text>.*)$")


def check_trials(
    ledger: Ledger,
    journaled: Mapping[str, Mapping[str, Any]],
    trials: Iterable[str],
    max_failures: int,
) -> Iterator[str]:
    """Every trial ended once, its counters are what was done to it, its attempts follow.

    It is Errored when it was cut short once more than it may be, and has no attempt after that:
    N retries are N+1 attempts. Else it is Terminated, by the one attempt that completed.
    """
    for trial in trials:
        row = journaled.get(trial)
        if row is None:
            yield f"trial {trial} has no row"
            continue
        costs = ledger.costs(trial)
        spent = sum(costs[cost] for cost in BUDGETED)
        errored = spent > max_failures
        if row["state"] != ("Errored" if errored else "Terminated"):
            said = f"{row['state']} ({row.get('reason', '')})"
            yield f"trial {trial} is {said} after {spent} failures and disruptions"
        if spent > max_failures + 1:
            yield f"trial {trial} was cut short {spent} times, {max_failures + 1} are its budget"
        for cost in COUNTED:
            found = row.get(cost.value, 0)
            if found != costs[cost]:
                yield (
                    f"trial {trial}: {found} {cost.value}, but {costs[cost]} were caused: "
                    f"{_faults(ledger.of(trial))}; last: {row.get('lastInterruption')}"
                )
        expected = ledger.ends(trial) + (0 if errored else 1)
        if row.get("attempt", 0) != expected:
            yield f"trial {trial}: {row.get('attempt')} attempts, {expected} were needed"
        completed = [one for one in ledger.of(trial) if one.completed]
        if len(completed) != (0 if errored else 1):
            yield f"trial {trial}: {len(completed)} of its attempts completed"


def check_end(
    status: Mapping[str, Any], journaled: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Some trials were given up, which the experiment says, and it is Complete all the same."""
    errored = sum(row["state"] == "Errored" for row in journaled.values())
    if not errored:
        yield "no trial used up its budget"
    if (shown := status.get("counts", {}).get("errored", 0)) != errored:
        yield f"{errored} trials are Errored, status counts {shown}"
    ends = {
        c["type"]: c.get("reason") for c in status.get("conditions", []) if c["status"] == "True"
    }
    if ends.get("Complete") != "TrialsErrored" or "Failed" in ends:
        yield f"the experiment is not Complete with TrialsErrored: {ends}"


def check_script(ledger: Ledger, strikes: Iterable[Strike]) -> Iterator[str]:
    """A run that struck nobody proves nothing, nor does one without a kind that was written."""
    struck, skipped = ledger.struck.total(), ledger.skipped.total()
    if skipped * SKIPPED_SHARE > struck:
        yield f"{skipped} faults found nobody to strike, {struck} did"
    for name, times in sorted(Counter(title(strike.fault) for strike in strikes).items()):
        if not ledger.struck[name]:
            yield f"{name}: none of {times} struck, {ledger.skipped[name]} found nobody"


def check_mishaps(met: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Requests to each server met errors, not only refused connections."""
    for server, mishaps in met.items():
        if not sum(n for mishap, n in mishaps.items() if mishap != Mishap.RESET.value):
            yield f"{server}: no request met a mishap but a reset: {dict(mishaps)}"


def check_exits(exits: Mapping[Exit, int], logs: Iterable[Path]) -> Iterator[str]:
    """Each operator ended as it must after what it was told."""
    for end, times in exits.items():
        if end.code not in EXITS[end.told]:
            yield f"{times} operators ended with {end.code}, told: {end.told}"
    failed = sum(times for end, times in exits.items() if end.code == 1)
    lost = sum(bool(re.search(STOPPED_WITHOUT_LEASE, said)) for _, said in _lines(logs))
    if failed > lost:
        yield f"{failed} operators ended with 1, {lost} of them lost the Lease"


def check_leaders(ledger: Ledger, logs: Sequence[Path]) -> Iterator[str]:
    """Each process that led when it was struck is one leader, and the last had a successor."""
    hits = sum(ledger.struck[title(fault)] for fault in OF_THE_LEADER)
    if (found := len(leaders(logs))) <= hits:
        yield f"{hits} leaders were struck, and only {found} ever led"


def leaders(logs: Iterable[Path]) -> set[str]:
    """Identities of all processes that ever took the Lease."""
    return {said.removeprefix(LEADING) for _, said in _lines(logs) if said.startswith(LEADING)}


def check_attempts(ledger: Ledger) -> Iterator[str]:
    """One Pod per attempt had a session; resume points never fall; no two trainers at once."""
    by_trial: dict[str, list[Attempt]] = defaultdict(list)
    for one in ledger.attempts.values():
        if one.bound:
            by_trial[one.trial].append(one)
    for attempts in by_trial.values():
        attempts.sort(key=lambda one: one.number)
        best = 0
        forged: set[object] = set()
        before: Attempt | None = None
        for one in attempts:
            if before is not None:
                yield from _succession(before, one)
            start = one.plan[0].iteration if one.plan else 0
            if start < best:
                yield f"{one} resumed at iteration {start}, {best} was acknowledged"
            if stolen := forged & set(one.plan or ()):
                yield f"{one} was offered what a zombie committed: {stolen}"
            if one.fault is ON_LOST_NODE and not one.refused:
                yield f"{one} was lost with its node and never refused"
            best = max(best, one.acknowledged)
            forged |= set(one.forged)
            before = one


def _succession(before: Attempt, one: Attempt) -> Iterator[str]:
    if before.number == one.number:
        yield f"two Pods had a session as attempt {one.number} of trial {one.trial}"
    outlived = before.fault in (ON_LOST_NODE, VANISHED)
    if not outlived and not 0 < before.ended <= one.opened:
        yield f"{one} had its session while {before} still ran"


def check_pods(created: Sequence[Created], history: StatusHistory, ledger: Ledger) -> Iterator[str]:
    """At most one Pod of a (trial, attempt) was ever bound; attempts were made in their order."""
    highest: dict[str, int] = {}
    for pod in created:
        if pod.attempt < highest.get(pod.trial, 0):
            attempt = ledger.attempts.get(pod.uid)
            if attempt is not None and attempt.bound:
                yield f"Pod of attempt {pod.attempt} of trial {pod.trial} came late and was bound"
        highest[pod.trial] = max(highest.get(pod.trial, 0), pod.attempt)
    sessions = {(one.trial, one.number): one.uid for one in ledger.attempts.values() if one.bound}
    for (trial, number), uid in history.bound().items():
        if sessions.get((trial, number), uid) != uid:
            yield f"attempt {number} of trial {trial}: the Pod in status is not who had a session"
    known = {pod.uid for pod in created}
    for one in ledger.attempts.values():
        if one.uid not in known:
            yield f"{one} is not in the audit log"


def check_results(records: Sequence[Record], ledger: Ledger) -> Iterator[str]:
    """The journal has each result once, in order, unaltered, and all that was called durable."""
    seqs: dict[tuple[str, int], list[int]] = defaultdict(list)
    for record in records:
        if record["type"] != "results":
            continue
        where = record["trial"], record["attempt"]
        for result in record["results"]:
            seqs[where].append(result["seq"])
            stamp = f"{record['trial']}/{record['attempt']}/{result['seq']}"
            if (found := result["metrics"].get("stamp")) != stamp:
                yield f"result {stamp} is journaled as {found}"
    for one in ledger.attempts.values():
        kept = seqs.pop((one.trial, one.number), []) if one.bound else []
        if kept != list(range(1, len(kept) + 1)):
            yield f"{one}: results are journaled as {kept}"
        if len(kept) < (due := max(one.durable, one.recorded)):
            yield f"{one}: {len(kept)} results journaled, {due} are due"
        if len(kept) > one.sent:
            yield f"{one}: {len(kept)} results journaled, it made {one.sent}"
    for (trial, number), kept in seqs.items():
        yield f"results {kept} of attempt {number} of trial {trial}, which had no session"


def check_listed(records: Sequence[Record], listed: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What the status shows of a trial is what the journal ends with."""
    last = rows(records)
    for row in listed:
        trial = row["name"]
        record = last.get(trial)
        if record is None:
            yield f"trial {trial} is not in the journal"
            continue
        for name in ("state", "attempt", *COUNTED):
            shown, kept = row.get(name, 0), record.get(name, 0)
            if shown != kept:
                yield f"trial {trial}: status shows {name} {shown}, the journal has {kept}"


def check_status(history: StatusHistory) -> Iterator[str]:
    """No version of the status contradicted another, and each was small."""
    yield from history.problems
    if history.largest >= STATUS_LIMIT:
        yield f"a status had {history.largest} bytes"


def check_logs(logs: Iterable[Path]) -> Iterator[str]:
    """No ERROR and no traceback but those that are expected."""
    for level, said in _lines(logs):
        if said.startswith("Traceback") or (
            level in ERRORS and not any(re.search(known, said) for known in EXPECTED_ERRORS)
        ):
            yield f"{level} {said[:400]}"


def _lines(logs: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Level, and logger with text, of each line; no level for what is no line of a log."""
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            yield (match["level"], f"{match['logger']} {match['text']}") if match else ("", line)


async def within(seconds: float, judged: Awaitable[list[str]]) -> list[str]:
    """The problems of a run; that it was not over in time is one that leaves no other."""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await judged
    except TimeoutError:
        if not limit.expired():
            raise
        return [f"not over {seconds:.0f} s after it began: see above how far it came"]


def _faults(attempts: Sequence[Attempt]) -> str:
    return ", ".join(f"{one.number}: {one.fault.name if one.fault else '-'}" for one in attempts)


def totals(ledger: Ledger) -> Counter[str]:
    """How often each fault ended or touched an attempt."""
    return Counter(one.fault.name for one in ledger.attempts.values() if one.fault)
