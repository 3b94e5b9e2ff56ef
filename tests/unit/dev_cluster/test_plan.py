"""A cluster's plan: chosen once, apart from every other cluster's."""

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from dev.cluster import plan, ports
from dev.cluster.errors import Missing
from dev.cluster.paths import ClusterPaths, cache_root
from dev.cluster.plan import Plan


@pytest.fixture(autouse=True)
def free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters that happen to start on this machine do not matter here."""
    monkeypatch.setattr(ports, "is_free", lambda _port: True)


def paths(root: Path, name: str) -> ClusterPaths:
    return ClusterPaths.of(name, root)


def test_a_plan_stays_as_it_was_chosen(tmp_path: Path) -> None:
    first = plan.ensure(paths(tmp_path, "a"), "kwok", running=())
    assert plan.ensure(paths(tmp_path, "a"), "kwok", running=()) == first
    assert Plan.read(paths(tmp_path, "a")) == first


def test_a_real_cluster_from_before_a_server_was_added_gets_its_usual_port(tmp_path: Path) -> None:
    made = plan.ensure(paths(tmp_path, "a"), "real", running=())
    file = paths(tmp_path, "a").plan
    fields = json.loads(file.read_text())
    del fields["ports"]["kwok"]
    file.write_text(json.dumps(fields))
    assert Plan.read(paths(tmp_path, "a")) == made


def test_two_kwok_clusters_share_no_port(tmp_path: Path) -> None:
    one = plan.ensure(paths(tmp_path, "a"), "kwok", running=())
    two = plan.ensure(paths(tmp_path, "b"), "kwok", running=())
    assert not set(one.ports.values()) & set(two.ports.values())
    assert one.minio_password != two.minio_password


def test_two_real_clusters_share_no_network(tmp_path: Path) -> None:
    one = plan.ensure(paths(tmp_path, "a"), "real", running=())
    two = plan.ensure(paths(tmp_path, "b"), "real", running=())
    assert not any(mine.overlaps(theirs) for mine in one.networks for theirs in two.networks)
    assert one.apiserver != two.apiserver


def test_ports_that_others_took_are_chosen_anew_while_the_cluster_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan.ensure(paths(tmp_path, "a"), "kwok", running=())
    lost = first.ports["apiserver"]
    monkeypatch.setattr(ports, "is_free", lambda port: port != lost)
    assert plan.ensure(paths(tmp_path, "a"), "kwok", running=["etcd"]) == first
    again = plan.ensure(paths(tmp_path, "a"), "kwok", running=())
    assert lost not in again.ports.values()
    assert again.minio_password == first.minio_password


def test_a_cluster_keeps_its_flavour(tmp_path: Path) -> None:
    plan.ensure(paths(tmp_path, "a"), "kwok", running=())
    with pytest.raises(Missing, match="down --name a"):
        plan.ensure(paths(tmp_path, "a"), "real", running=())


def test_the_store_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    plan.ensure(paths(tmp_path, "a"), "kwok", running=())
    assert paths(tmp_path, "a").plan.stat().st_mode & 0o077 == 0
    assert len(json.loads(paths(tmp_path, "a").plan.read_text())["minio_user"]) <= 20


def test_addresses_of_a_real_cluster_follow_from_its_slot() -> None:
    chosen = Plan("a", "real", {"apiserver": 6443, "minio": 9000}, "u", "p", slot=7)
    assert chosen.apiserver == "https://10.210.7.2:6443"
    assert chosen.minio == "http://10.210.7.2:9000"
    assert IPv4Network(chosen.services).network_address + 10 == IPv4Network(f"{chosen.dns}/32")[0]


def test_the_kernel_s_routes_are_read() -> None:
    table = (
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        "eth0 0000D20A 00000000 0001 0 0 0 0000FFFF 0 0 0\n"
    )
    assert plan.routes(table) == [IPv4Network("10.210.0.0/16")]


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a" * 21, "a/b", "../a"])
def test_unusable_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Missing, match="--name"):
        ClusterPaths.of(name, tmp_path)


def test_a_folder_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="TUNE_CACHE_DIR"):
        ClusterPaths.of("a", tmp_path / ("x" * 100))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TUNE_CACHE_DIR": "/own", "XDG_CACHE_HOME": "/xdg"}, Path("/own")),
        ({"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/tune-operator")),
        ({}, Path.home() / ".cache" / "tune-operator"),
    ],
    ids=["own", "xdg", "home"],
)
def test_the_cache_is_where_the_user_wants_it(environment: dict[str, str], expected: Path) -> None:
    assert cache_root(environment) == expected
