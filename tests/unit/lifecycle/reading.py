"""A second reading of the decision table: DESIGN 5.3 from top to bottom, in its own words.

It shares nothing with the code it checks: facts in, outcome out, one `if` per row.
Where the table is silent, the sentence that was followed instead stands beside the `if`.
"""

from __future__ import annotations

from tests.unit.lifecycle.situations import Situation

Outcome = tuple[int, str, str, str]
"""Row, class, counter, action; "-" as in the table where it has none."""

UNDECIDED: Outcome = (0, "undecided", "-", "wait")
"""5.2, step 5: anything but 200 and 404 is undecided; look again."""

RULES = {
    "Ignore": ("-", "resume"),
    "Count": ("failure", "resume"),
    "FailTrial": ("failure", "end the trial"),
    "FailExperiment": ("failure", "end the experiment"),
}
"""4: what the action of a rule in `failure.rules` counts and does."""


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
        return 2, "completed", "-", "complete"
    if s.intent and (terminal or gone):
        if s.intent in ("hung", "startError"):
            return 3, "failed", "failure", "resume"
        return 3, "stopped", "-", "as the intent says"
    if s.deleted and not terminal and not overdue:
        return 4, "terminating", "-", "wait"
    # A node that is unreachable but not to be given up is one that may answer again: waited for.
    if overdue and not node_gone and not fencing:
        return 5, "terminating", "-", "wait"
    if overdue and node_gone:
        return 6, "terminating", "-", "wait"
    if fencing:
        if s.intent in ("hung", "startError"):
            return 7, "lost", "failure", "fence"  # settled by the intent
        return 7, "lost", "-" if s.intent else "disruption", "fence"
    if succeeded and record in ("Interrupted", "Failed", "none") and sign:
        return 8, "preempted", "disruption", "resume"
    if record == "Interrupted" and not sign and (terminal or gone):
        if s.in_a_row >= 9:
            return 9, "failed", "failure", "resume"
        return 9, "interrupted", "-", "resume"
    if succeeded:
        return 10, "failed", "failure", "resume"
    if failed and any_target:
        return 11, "preempted", "disruption", "resume"
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
        return 12, "rejected", "infrastructure", "resume"
    if (
        failed
        and ever_started
        and s.reason in ("Preempting", "Terminated", "NodeShutdown", "NodeLost")
    ):
        return 13, "preempted", "disruption", "resume"
    if failed and code == 75:
        return 14, "rejected", "infrastructure", "resume"
    if failed and ever_started and s.reason == "Evicted":
        return 15, "failed", "failure", "resume"
    if failed or (gone and record != "none"):  # row 17 is for those without an exit record
        if s.action and code:
            return 16, "failed", *RULES[s.action]
        if s.oom:
            return 16, "failed", "failure", "resume"
        if s.deleted:
            return 16, "preempted", "disruption", "resume"
        return 16, "failed", "failure", "resume"
    if gone:
        return 17, "lost", "disruption", "resume"
    if s.pod == "absent":
        return 18, "not created", "-", "create"
    if s.pod == "unplaced" and not ever_started:
        return 19, "pending", "-", "wait"
    if not ever_started:
        # Once per attempt: whoever has an intent already is being stopped.
        return 20, "-", "-", "intent startError" if s.late and not s.intent else "wait"
    # Beyond DESIGN's words: one that hangs would not hear that it should save, and stay for ever.
    if (s.target == "DisruptionTarget" or (s.cordoned and node != "gone")) and not s.late:
        # Whoever is being stopped saves without being asked.
        return 21, "running", "-", "wait" if s.intent else "checkpoint"
    # A node that is gone is no better known than one that is silent.
    if node in ("gone", "unreachable"):
        return 22, "unknown", "-", "wait"
    if s.late and not s.intent:
        return 23, "-", "-", "intent hung"
    return 24, "running", "-", "wait"
