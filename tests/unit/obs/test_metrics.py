"""The names other people's dashboards rely on, and the labels that keep them few."""

from prometheus_client.parser import text_string_to_metric_families

from tune_operator.obs.metrics import Metrics

NAMES = {
    "tune_reconciles",
    "tune_reconcile_seconds",
    "tune_status_writes",
    "tune_pods_created",
    "tune_pods_deleted",
    "tune_attempts_ended",
    "tune_results_received",
    "tune_results_duplicate",
    "tune_results_durable",
    "tune_report_seconds",
    "tune_reports_refused",
    "tune_journal_commits",
    "tune_journal_commit_seconds",
    "tune_checkpoints_deleted",
    "tune_checkpoint_bytes_deleted",
    "tune_retention_passes",
    "tune_store_seconds",
    "tune_store_errors",
    "tune_workqueue_depth",
    "tune_leader",
    "tune_informer_age_seconds",
}
LABELS = {"class", "outcome", "path", "reason", "operation", "error", "le"}


def families(metrics: Metrics) -> dict[str, list[dict[str, str]]]:
    """Labels of all samples by name of the metric, as Prometheus reads them."""
    return {
        family.name: [dict(sample.labels) for sample in family.samples]
        for family in text_string_to_metric_families(metrics.render().decode())
        if not family.name.endswith("_created") or family.name == "tune_pods_created"
    }


def test_names_and_labels() -> None:
    metrics = Metrics()
    metrics.reconciles.labels("done").inc()
    metrics.status_writes.labels("written").inc()
    metrics.attempts_ended.labels("preempted").inc()
    metrics.journal_commits.labels("committed").inc()
    metrics.retention_passes.labels("done").inc()
    metrics.report_seconds.labels("/v1/session").observe(0.1)
    metrics.reports_refused.labels("Outdated").inc()
    metrics.store_operation("get", 0.1, "Unreachable")
    found = families(metrics)
    assert set(found) == NAMES
    assert {label for samples in found.values() for sample in samples for label in sample} == LABELS


def test_store_operations() -> None:
    metrics = Metrics()
    metrics.store_operation("get", 0.1, None)
    metrics.store_operation("get", 0.1, "AccessDenied")
    sample = metrics.registry.get_sample_value
    assert sample("tune_store_seconds_count", {"operation": "get"}) == 2
    labels = {"operation": "get", "error": "AccessDenied"}
    assert sample("tune_store_errors_total", labels) == 1


def test_gauges_are_read_when_asked() -> None:
    metrics, waiting = Metrics(), [1, 2]
    metrics.watch_workqueue(lambda: len(waiting))
    metrics.watch_informer(lambda: 0.5)
    waiting.append(3)
    assert metrics.registry.get_sample_value("tune_workqueue_depth") == 3
    assert metrics.registry.get_sample_value("tune_informer_age_seconds") == 0.5


def test_two_sets_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.pods_created.inc()
    assert second.registry.get_sample_value("tune_pods_created_total") == 0
