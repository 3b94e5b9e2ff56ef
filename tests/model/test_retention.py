"""Retention under the model: operators that delete, in every history of the attempts' own model.

The store loses, delays and repeats deletions as it does other calls; two operators collect one run,
crash and freeze in the middle of it, and trainers commit long after they were replaced.
"""

import pytest

from tests.cases import ran
from tests.model.cases import EXAMPLES
from tests.model.histories import collected_history

pytestmark = pytest.mark.timeout(300)  # pure computing: a busy machine takes its time
HISTORIES = EXAMPLES // 8
"""Fewer than of attempts: these are longer."""


def test_nothing_goes_that_is_needed(request: pytest.FixtureRequest) -> None:
    manifests = data = 0
    for seed in range(HISTORIES):
        retention = collected_history(seed).history.retention
        manifests += retention.manifests_deleted
        data += retention.data_deleted
    ran(request.node.nodeid, HISTORIES - 1)  # the test itself counts as one
    assert manifests > HISTORIES, "the histories are too tame to show anything"
    assert data > HISTORIES, "the histories are too tame to show anything"
