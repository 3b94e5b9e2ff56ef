"""What every layer of tests shares: the layer's marker, and the rule that a full run skips nothing.

A test that finds no cluster skips with a reason, right at a developer's desk. In `make test` a
skipped test is a promise nobody checked: there TUNE_TESTS_NO_SKIP=1 makes it fail.
"""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.cases import examples, ran

TESTS = Path(__file__).parent
LAYERS = frozenset({"unit", "model", "trainer", "integration", "e2e", "scale"})
# How long an example takes tells of the machine and of what else runs on it, not of the code.
settings.register_profile("tune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tune")

NO_SKIP = os.environ.get("TUNE_TESTS_NO_SKIP") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its layer: the folder below tests/."""
    for item in items:
        layer = item.path.relative_to(TESTS).parts[0]
        if layer in LAYERS:
            item.add_marker(layer)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where none is allowed; an expected failure is no skip."""
    report = yield
    if report.when == "call" and report.passed:
        ran(item.nodeid, examples(item))
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and TUNE_TESTS_NO_SKIP=1 allows none: {skip_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips as a whole."""
    report = yield
    if NO_SKIP and report.skipped:
        report.outcome = "failed"
        reason = skip_reason(report)
        report.longrepr = f"module skipped, and TUNE_TESTS_NO_SKIP=1 allows none: {reason}"
    return report


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip: the last part of pytest's (path, line, reason)."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
