"""The operator's metrics, all in one place. No label grows with experiments, trials or Pods."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One set of metrics with a registry of its own: two operators in one test stay apart."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.reconciles = Counter(
            "tune_reconciles", "Reconciles by outcome", ["outcome"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            "tune_reconcile_seconds", "Duration of one reconcile", buckets=_FAST, registry=registry
        )
        self.status_writes = Counter(
            "tune_status_writes", "Status writes by outcome", ["outcome"], registry=registry
        )
        self.pods_created = Counter("tune_pods_created", "Pods created", registry=registry)
        self.pods_deleted = Counter("tune_pods_deleted", "Pods deleted", registry=registry)
        self.attempts_ended = Counter(
            "tune_attempts_ended",
            "Attempts of trials that ended, by class of the decision table",
            ["class"],
            registry=registry,
        )
        self.results_received = Counter(
            "tune_results_received", "Results of trials taken in", registry=registry
        )
        self.results_duplicate = Counter(
            "tune_results_duplicate", "Results dropped as sent before", registry=registry
        )
        self.results_durable = Counter(
            "tune_results_durable", "Results of trials kept in a journal", registry=registry
        )
        self.report_seconds = Histogram(
            "tune_report_seconds",
            "Duration of one request of a trainer",
            ["path"],
            buckets=_FAST,
            registry=registry,
        )
        self.reports_refused = Counter(
            "tune_reports_refused",
            "Requests of trainers not answered 200, by error code",
            ["reason"],
            registry=registry,
        )
        self.journal_commits = Counter(
            "tune_journal_commits", "Journal commits by outcome", ["outcome"], registry=registry
        )
        self.journal_commit_seconds = Histogram(
            "tune_journal_commit_seconds",
            "Duration of one journal commit, with the look for a newer owner",
            buckets=_FAST,
            registry=registry,
        )
        self.checkpoints_deleted = Counter(
            "tune_checkpoints_deleted", "Checkpoints deleted by retention", registry=registry
        )
        self.checkpoint_bytes_deleted = Counter(
            "tune_checkpoint_bytes_deleted",
            "Bytes of checkpoints' data deleted by retention",
            registry=registry,
        )
        self.retention_passes = Counter(
            "tune_retention_passes",
            "Passes of retention over an experiment, by outcome",
            ["outcome"],
            registry=registry,
        )
        self.store_seconds = Histogram(
            "tune_store_seconds",
            "Duration of one operation on an object store",
            ["operation"],
            buckets=_FAST,
            registry=registry,
        )
        self.store_errors = Counter(
            "tune_store_errors",
            "Failed operations on object stores, by error",
            ["operation", "error"],
            registry=registry,
        )
        self.workqueue_depth = Gauge(
            "tune_workqueue_depth", "Experiments waiting for a worker", registry=registry
        )
        self.leader = Gauge(
            "tune_leader", "1 while this process holds the Lease", registry=registry
        )
        self.informer_age_seconds = Gauge(
            "tune_informer_age_seconds", "Since the watch of Pods last heard", registry=registry
        )

    @contextmanager
    def journal_commit(self) -> Iterator[None]:
        """Times one commit, and counts it by its outcome: the error's name unless it landed."""
        outcome = "committed"
        try:
            with self.journal_commit_seconds.time():
                yield
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self.journal_commits.labels(outcome).inc()

    def store_operation(self, operation: str, seconds: float, error: str | None) -> None:
        """Takes in one operation; has the shape of `store.measured.Observe`."""
        self.store_seconds.labels(operation).observe(seconds)
        if error is not None:
            self.store_errors.labels(operation, error).inc()

    def watch_workqueue(self, depth: Callable[[], float]) -> None:
        """Reads the depth of the queue at each scrape."""
        self.workqueue_depth.set_function(depth)

    def watch_informer(self, age: Callable[[], float]) -> None:
        """Reads the age of the informer in seconds at each scrape."""
        self.informer_age_seconds.set_function(age)

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)
