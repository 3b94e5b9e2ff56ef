from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tune_operator.kube import lease
from tune_operator.kube.lease import Observed

NOW = datetime(2026, 11, 21, 4, 5, 6, 789, tzinfo=UTC)
NOW_TEXT = "2026-11-21T04:05:06.000789Z"


def held(holder: str | None, version: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "tune-operator", "resourceVersion": str(version)},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec},
    }


@pytest.mark.parametrize(
    ("holder", "now", "free"),
    [
        pytest.param("other", 100.0, False, id="just seen"),
        pytest.param("other", 114.9, False, id="not silent for long enough"),
        pytest.param("other", 115.0, True, id="silent for the whole duration"),
        pytest.param("", 100.0, True, id="released"),
        pytest.param(None, 100.0, True, id="never held"),
        pytest.param("me", 100.0, True, id="ours: a renewal whose answer was lost"),
    ],
)
def test_who_may_take_it(holder: str | None, now: float, free: bool) -> None:
    assert Observed(held(holder), since=100.0).free_for("me", now) is free


def test_expiry_counts_from_our_own_first_sight_of_a_version() -> None:
    first = Observed.of(held("other", 1), None, 100.0)
    again = Observed.of(held("other", 1), first, 110.0)
    renewed = Observed.of(held("other", 2), again, 112.0)
    assert [seen.since for seen in (first, again, renewed)] == [100.0, 100.0, 112.0]


def test_remote_clocks_do_not_count() -> None:
    long_ago = held("other", renewTime="1990-01-01T00:00:00.000000Z")
    assert not Observed.of(long_ago, None, 100.0).free_for("me", 101.0)


def test_duration_of_the_holder_counts() -> None:
    slow = Observed(held("other", leaseDurationSeconds=60), since=100.0)
    assert not slow.free_for("me", 130.0)


def test_new_lease() -> None:
    body = lease.first("tune-system", "tune-operator", "me", 15, NOW)
    assert body["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": NOW_TEXT,
        "renewTime": NOW_TEXT,
        "leaseTransitions": 0,
    }


def test_change_of_holder_is_a_transition() -> None:
    before = held("other", leaseTransitions=4, acquireTime="then", renewTime="then")
    after = lease.taken(before, "me", 15, NOW)
    assert after["metadata"] == before["metadata"]
    assert after["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": NOW_TEXT,
        "renewTime": NOW_TEXT,
        "leaseTransitions": 5,
    }
    assert before["spec"]["holderIdentity"] == "other"


def test_renewal_changes_the_renewal_time_only() -> None:
    before = held("me", leaseTransitions=4, acquireTime="then", renewTime="then")
    assert lease.taken(before, "me", 15, NOW)["spec"] == {**before["spec"], "renewTime": NOW_TEXT}


def test_taking_a_released_lease_is_a_transition() -> None:
    gone = lease.released(held("other", leaseTransitions=4), NOW)
    assert gone["spec"]["holderIdentity"] == ""
    assert lease.taken(gone, "me", 15, NOW)["spec"]["leaseTransitions"] == 5


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        pytest.param(NOW.replace(microsecond=0), "2026-11-21T04:05:06.000000Z", id="full second"),
        pytest.param(
            NOW.astimezone(timezone(timedelta(hours=2))), NOW_TEXT, id="another zone becomes UTC"
        ),
    ],
)
def test_micro_time_has_six_decimals(moment: datetime, text: str) -> None:
    assert lease.micro_time(moment) == text
