"""What is promised, and which tests prove it. `make reliability` makes a table of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """One promise. ``tests``: how the IDs of the tests that prove it begin."""

    name: str
    text: str
    tests: tuple[str, ...]


HISTORIES = "tests/model/test_attempts.py"
"""Random histories: for each promise that names them, the history says when it is broken."""

EVERY_WRITE = "tests/model/test_small_scope.py"
"""A fault at each write of an operator: no trial, no counter and no end is different for it."""

ANSWER_LOST = "test_one_fault_at_any_write[alike-lost answer]"
UNIT = "tests/unit/"
TRAINER = "tests/trainer/"
CLUSTER = "tests/integration/"
REAL = "tests/e2e/"

PROMISES = (
    Promise(
        "P1",
        "At most one Pod is ever bound to an attempt, at most one attempt of a trial is current.",
        (
            HISTORIES,
            EVERY_WRITE,
            UNIT + "experiment/test_journal_machine.py",
            UNIT + "lifecycle/test_judging.py",
            CLUSTER + "test_journal_on_the_cluster.py",
            CLUSTER + "test_operator_restart.py",
            CLUSTER + "test_node_loss.py",
        ),
    ),
    Promise(
        "P2",
        "Each attempt is counted once; a trial has at most `maxFailures` + 1 counted attempts.",
        (
            HISTORIES,
            EVERY_WRITE,
            UNIT + "lifecycle/test_budget.py",
            UNIT + "lifecycle/test_settle.py",
            CLUSTER + "test_causes_of_ending.py",
            CLUSTER + "test_failure_policy.py",
            CLUSTER + "test_pod_gc.py",
            CLUSTER
            + "test_trial_lifecycle.py::test_a_failing_trial_gets_n_retries_and_then_errors",
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
            CLUSTER + "test_before_eviction.py",
            CLUSTER + "test_pod_gc.py",
            CLUSTER + "test_node_loss.py",
            REAL + "test_causes.py",
        ),
    ),
    Promise(
        "P4",
        "Exit code 0 is not success: only a durable completion record is.",
        (
            HISTORIES,
            CLUSTER + "test_trial_lifecycle.py::test_exit_code_0_without_a_record_is_no_success",
            CLUSTER + "test_trial_lifecycle.py::test_completion_wins_over_the_exit_code",
            REAL + "test_digits.py::test_exit_code_0_after_sigterm_is_a_preemption_and_no_success",
            REAL + "test_shell.py",
        ),
    ),
    Promise(
        "P5",
        "A zombie can change neither the result nor the resume point.",
        (
            HISTORIES,
            CLUSTER + "test_trial_lifecycle.py::test_a_replaced_attempt_is_refused",
            CLUSTER + "test_reports_auth.py",
            CLUSTER + "test_node_loss.py",
            CLUSTER + "test_journal_on_the_cluster.py",
            CLUSTER + "test_kill_loop.py",
            REAL + "test_node.py::test_a_trainer_that_is_cut_off_is_given_up_and_refused",
        ),
    ),
    Promise(
        "P6",
        "The resume point is the newest committed checkpoint; nothing torn or altered is loaded.",
        (
            HISTORIES,
            "tests/model/test_retention.py",
            TRAINER + "test_checkpoint.py",
            UNIT + "trainer/test_saving.py",
            TRAINER + "test_store_faults.py",
            UNIT + "lifecycle/test_retention.py",
            UNIT + "experiment/test_collector.py",
            UNIT + "experiment/test_collected_clones.py",
            TRAINER + "test_clones.py",
            CLUSTER + "test_kill_loop.py",
            CLUSTER + "test_trainer_store.py",
            REAL + "test_examples.py",
        ),
    ),
    Promise(
        "P7",
        "Deletion and suspension give every reachable trial time to save, and leave nothing.",
        (
            HISTORIES,
            UNIT + "lifecycle/test_stopping.py",
            UNIT + "lifecycle/test_ending.py",
            UNIT + "experiment/test_unheard_end.py",
            UNIT + "experiment/test_refused_change.py",
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
            HISTORIES,
            EVERY_WRITE,
            CLUSTER + "test_operator_restart.py",
            CLUSTER + "test_journal_on_the_cluster.py",
            REAL + "test_digits.py::test_sigkill_of_the_operator_changes_nothing",
        ),
    ),
    Promise(
        "P13",
        "When input and faults stop, the experiment reaches its end, and nothing is written then.",
        (
            HISTORIES,
            EVERY_WRITE,
            CLUSTER + "test_operator_restart.py::test_a_finished_experiment_is_never_written_again",
        ),
    ),
    Promise(
        "P15",
        "Outages of API server and store spend nobody's failure budget.",
        (
            f"{EVERY_WRITE}::{ANSWER_LOST}",
            UNIT + "experiment/test_journal_machine.py",
            UNIT + "experiment/test_journal_faults.py",
            UNIT + "experiment/test_dry_runs.py",
            CLUSTER + "test_store_outage.py",
            CLUSTER + "test_admission.py",
            CLUSTER + "test_api_outage.py",
            CLUSTER
            + "test_pods_in_a_namespace.py"
            + "::test_trials_beyond_the_quota_wait_for_room_and_hardly_ask",
        ),
    ),
)
