"""The trainer image where a cluster allows the least: any user, nothing to write to, process 1."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import Stage
from tests.e2e.workload import restricted_template, slow

pytestmark = pytest.mark.timeout(180)

UID = 1_000_660_000
"""Of a range that OpenShift gives to a namespace: nobody in the image, in group 0."""


def template() -> dict[str, Any]:
    """The trainer image with all that the restricted Pod Security standard can take away."""
    made = restricted_template("dev.local/tune-trainer:dev", "children:Children", "children-source")
    spec = made["spec"]
    spec["securityContext"] |= {"runAsUser": UID, "runAsGroup": 0}
    spec["volumes"].append({"name": "scratch", "emptyDir": {}})
    [trainer] = spec["containers"]
    trainer["securityContext"]["readOnlyRootFilesystem"] = True
    # All that it may write to.
    trainer["volumeMounts"].append({"name": "scratch", "mountPath": "/tmp"})  # noqa: S108
    return made


def test_as_any_user_it_reaps_orphans_and_leaves_workers_to_the_last_iteration(
    stage: Stage,
) -> None:
    stage.source("children-source", Path(__file__).parent / "children.py")
    changes = {**slow(40, 0), "trainer": None, "template": template()}
    stage.apply("children", **{**changes, "failure": {"maxFailures": 1}})
    stage.reaches("children", 5)
    stage.evict(stage.pod("children", "00000"))
    stage.condition("children", "Complete", reason="AllTrialsTerminated")
    row = stage.row("children")
    assert (row["attempt"], row["disruptions"], row.get("failures", 0)) == (2, 1, 0)
    uid = stage.uid("children")
    record = stage.exit_record("children", uid, "00000", 1)
    assert (record.outcome, record.signal) == ("Interrupted", "SIGTERM")
    assert record.last_result is not None
    metrics = record.last_result.metrics
    assert (metrics["uid"], metrics["init"]) == (UID, 1)
    saved = max(ref for ref in stage.committed("children", uid) if ref.attempt == 1)
    assert saved.iteration == record.iteration
