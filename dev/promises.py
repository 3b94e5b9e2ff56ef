"""What is promised, and which tests prove it. `make reliability` makes a table of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """One promise. ``tests`` are prefixes of test IDs: a folder, a file, or ``file::test``."""

    name: str
    text: str
    tests: tuple[str, ...]


MODEL = "tests/model/"
UNIT = "tests/unit/"
CLUSTER = "tests/integration/"
REAL = "tests/e2e/"

PROMISES = (
    Promise(
        "P1",
        "At most one Pod is ever bound to an attempt, at most one attempt of a trial is current.",
        (
            MODEL,
            UNIT + "experiment/test_journal_machine.py",
            UNIT + "lifecycle/test_judging.py",
            CLUSTER + "test_operator_restart.py",
            CLUSTER + "test_node_loss.py",
        ),
    ),
    Promise(
        "P2",
        "Each attempt is counted once; a trial has at most `maxFailures` + 1 counted attempts.",
        (
            MODEL,
            UNIT + "lifecycle/test_budget.py",
            UNIT + "lifecycle/test_settle.py",
            CLUSTER + "test_causes_of_ending.py",
            CLUSTER + "test_failure_policy.py",
            REAL + "test_causes.py",
        ),
    ),
    Promise(
        "P3",
        "What happened to a Pod is read off one table, and nothing else.",
        (
            UNIT + "lifecycle/test_matrix.py",
            UNIT + "lifecycle/test_classify.py",
            UNIT + "lifecycle/test_recorded.py",
            CLUSTER + "test_causes_of_ending.py",
            CLUSTER + "test_attempts_that_wait.py",
            REAL + "test_causes.py",
        ),
    ),
    Promise(
        "P4",
        "Exit code 0 is not success: only a durable completion record is.",
        (
            MODEL,
            REAL + "test_digits.py::test_exit_code_0_after_sigterm_is_a_preemption_and_no_success",
        ),
    ),
    Promise(
        "P5",
        "A zombie can change neither the result nor the resume point.",
        (
            MODEL,
            CLUSTER + "test_trial_lifecycle.py::test_a_replaced_attempt_is_refused",
            CLUSTER + "test_reports_auth.py",
            CLUSTER + "test_node_loss.py",
            REAL + "test_node.py::test_a_trainer_that_is_cut_off_is_given_up_and_refused",
        ),
    ),
    Promise(
        "P7",
        "Deletion and suspension give every reachable trial time to save, and leave nothing.",
        (
            MODEL,
            UNIT + "lifecycle/test_stopping.py",
            UNIT + "lifecycle/test_ending.py",
            CLUSTER + "test_suspend.py",
            CLUSTER + "test_stopping.py",
            CLUSTER + "test_stop_bound.py",
            REAL + "test_stopping.py",
            REAL + "test_digits.py::test_delete_in_the_middle_leaves_checkpoints_and_nothing_else",
        ),
    ),
    Promise(
        "P8",
        "Restart, upgrade or change of the leader: no trial restarts, no status flaps.",
        (
            MODEL,
            CLUSTER + "test_operator_restart.py",
            REAL + "test_digits.py::test_sigkill_of_the_operator_changes_nothing",
        ),
    ),
    Promise(
        "P13",
        "When input and faults stop, the experiment reaches its end, and nothing is written then.",
        (
            MODEL,
            CLUSTER + "test_operator_restart.py::test_a_finished_experiment_is_never_written_again",
        ),
    ),
    Promise(
        "P15",
        "Outages of API server and store spend nobody's failure budget.",
        (
            MODEL,
            UNIT + "experiment/test_journal_machine.py",
            UNIT + "experiment/test_journal_faults.py",
            CLUSTER + "test_store_outage.py",
        ),
    ),
)
