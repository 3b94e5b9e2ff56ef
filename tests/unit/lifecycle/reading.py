"""A second reading of the decision table: DESIGN 5.3 from top to bottom, in its own words.

It shares nothing with the code it checks: facts in, (row, class, counter) out, one `if` per row.
Where the table is silent, the sentence that was followed instead stands beside the `if`.
"""

from __future__ import annotations

from tests.unit.lifecycle.situations import Situation

Outcome = tuple[int, str, str]
"""Row, class, counter; "-" as in the table where it has none."""

UNDECIDED: Outcome = (0, "undecided", "-")
"""5.2, step 5: anything but 200 and 404 is undecided; look again."""


def read(s: Situation, code: int | None, record: str, node: str) -> Outcome:  # noqa: C901, PLR0912
    # 5.2, step 5: the record is read whenever the trainer is terminal, the Pod is gone, or row 7
    # is about to fence. (A Pod deleted before it had a node is terminal: no kubelet has it.)
    terminal = s.pod == "ended" or (s.pod == "unplaced" and s.deleted != "")
    gone = s.pod == "gone"
    overdue = s.deleted == "overdue" and not terminal
    # A node that is out of service while not ready counts as gone.
    node_gone = node == "gone" or (s.out_of_service and node == "unreachable")
    fencing = overdue and not node_gone and node == "unreachable" and s.policy == "Fence"
    if record == "store down":
        if terminal or gone or fencing:
            return UNDECIDED
        record = "none"

    succeeded = terminal and s.pod == "ended" and code == 0 and not s.phase_failed
    failed = terminal and not succeeded
    ever_started = s.started or record != "none"
    any_target = s.target in ("DisruptionTarget", "TerminationTarget")
    sign = (
        s.deleted != ""
        or any_target
        or s.reason in ("Terminated", "NodeShutdown", "Evicted", "Preempting")
    )

    if record == "Completed":
        return 2, "completed", "-"
    if s.intent and (terminal or gone):
        return (
            (3, "failed", "failure") if s.intent in ("hung", "startError") else (3, "stopped", "-")
        )
    if s.deleted and not terminal and not overdue:
        return 4, "terminating", "-"
    # A node that is unreachable but not to be given up is one that may answer again: waited for.
    if overdue and not node_gone and not fencing:
        return 5, "terminating", "-"
    if overdue and node_gone:
        return 6, "terminating", "-"
    if fencing:
        if s.intent in ("hung", "startError"):
            return 7, "lost", "failure"  # settled by the intent
        return 7, "lost", "-" if s.intent else "disruption"
    if succeeded and record in ("Interrupted", "Failed", "none") and sign:
        return 8, "preempted", "disruption"
    if record == "Interrupted" and not sign and (terminal or gone):
        return (9, "failed", "failure") if s.in_a_row >= 9 else (9, "interrupted", "-")
    if succeeded:
        return 10, "failed", "failure"
    if failed and any_target:
        return 11, "preempted", "disruption"
    if (
        failed
        and not ever_started
        and s.reason
        in (
            "Preempting",
            "NodeShutdown",
            "NodeAffinity",
            "UnexpectedAdmissionError",
            "OutOfcpu",
            "OutOfexample.com/gpu",
            "Evicted",
        )
    ):
        return 12, "rejected", "infrastructure"
    if (
        failed
        and ever_started
        and s.reason in ("Preempting", "Terminated", "NodeShutdown", "NodeLost")
    ):
        return 13, "preempted", "disruption"
    if failed and code == 75:
        return 14, "rejected", "infrastructure"
    if failed and ever_started and s.reason == "Evicted":
        return 15, "failed", "failure"
    if failed or (gone and record != "none"):  # row 17 is for those without an exit record
        if s.action and code:
            return 16, "failed", "-" if s.action == "Ignore" else "failure"
        if s.oom:
            return 16, "failed", "failure"
        if s.deleted:
            return 16, "preempted", "disruption"
        return 16, "failed", "failure"
    if gone:
        return 17, "lost", "disruption"
    if s.pod == "absent":
        return 18, "not created", "-"
    if s.pod == "unplaced" and not ever_started:
        return 19, "pending", "-"
    if not ever_started:
        return 20, "-", "-"
    # Beyond DESIGN's words: one that hangs would not hear that it should save, and stay for ever.
    if (s.target == "DisruptionTarget" or (s.cordoned and node != "gone")) and not s.late:
        return 21, "running", "-"
    # A node that is gone is no better known than one that is silent.
    if node in ("gone", "unreachable"):
        return 22, "unknown", "-"
    if s.late and not s.intent:
        return 23, "-", "-"
    return 24, "running", "-"
