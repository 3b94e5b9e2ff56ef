"""Says whether a run was right: what the operator tells against what really happened."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.audit import Created
from tests.chaos.faults import ON_LOST_NODE, VANISHED, Cost
from tests.chaos.history import STATUS_LIMIT, StatusHistory
from tests.chaos.journal import Record, rows
from tests.chaos.ledger import Attempt, Ledger

COUNTED = (Cost.FAILURE, Cost.DISRUPTION, Cost.INFRASTRUCTURE)

SKIPPED_SHARE = 5

EXPECTED_ERRORS: Mapping[str, str] = {
    r"task leader failed: ": "who cannot renew its Lease in time ends, as it must",
    r"stopping: task leader ": "the same, in the last line of the process",
    r"^kopf\S+ Request attempt #\d+/\d+ failed": "Kopf calls each request that it repeats an error",
}
"""ERROR lines of an operator that these faults must cause, each with its reason."""

ERRORS = ("ERROR", "CRITICAL")
_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+Z (?P<level>[A-Z]+) (?P<logger>\S+) (?P<text>.*)$")


def check_trials(
    ledger: Ledger, journaled: Mapping[str, Mapping[str, Any]], trials: Iterable[str]
) -> Iterator[str]:
    """Every trial ended once, its counters are what was done to it, its attempts follow."""
    for trial in trials:
        row = journaled.get(trial)
        if row is None:
            yield f"trial {trial} has no row"
            continue
        if row["state"] != "Terminated":
            yield f"trial {trial} is {row['state']} ({row.get('reason', '')})"
        costs = ledger.costs(trial)
        for cost in COUNTED:
            found = row.get(cost.value, 0)
            if found != costs[cost]:
                yield (
                    f"trial {trial}: {found} {cost.value}, but {costs[cost]} were caused: "
                    f"{_faults(ledger.of(trial))}; last: {row.get('lastInterruption')}"
                )
        expected = ledger.ends(trial) + 1
        if row.get("attempt", 0) != expected:
            yield f"trial {trial}: {row.get('attempt')} attempts, {expected} were needed"
        completed = [one for one in ledger.of(trial) if one.completed]
        if len(completed) != 1:
            yield f"trial {trial}: {len(completed)} of its attempts completed"


def check_script(ledger: Ledger) -> Iterator[str]:
    """A run that struck nobody proves nothing."""
    struck, skipped = ledger.struck.total(), ledger.skipped.total()
    if skipped * SKIPPED_SHARE > struck:
        yield f"{skipped} faults found nobody to strike, {struck} did"


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
    for log in logs:
        level = ""
        for line in log.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match is None:
                # The traceback of an ERROR is judged with its line.
                if line.startswith("Traceback") and level not in ERRORS:
                    yield f"{log.name}: {line}"
                continue
            level = match["level"]
            said = f"{match['logger']} {match['text']}"
            if level in ERRORS and not any(re.search(known, said) for known in EXPECTED_ERRORS):
                yield f"{log.name}: {line[:400]}"


def _faults(attempts: Sequence[Attempt]) -> str:
    return ", ".join(f"{one.number}: {one.fault.name if one.fault else '-'}" for one in attempts)


def totals(ledger: Ledger) -> Counter[str]:
    """How often each fault ended or touched an attempt."""
    return Counter(one.fault.name for one in ledger.attempts.values() if one.fault)
