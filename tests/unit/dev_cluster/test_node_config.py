"""The configuration files of a real node and of the control plane."""

import json
import tomllib
from pathlib import Path

import pytest

from dev.cluster import controlplane, node, pki
from dev.cluster.paths import ClusterPaths
from dev.cluster.plan import USUAL_PORTS, Plan

REAL = Plan("a", "real", dict(USUAL_PORTS), "user", "open-sesame", slot=3)


@pytest.fixture
def paths(tmp_path: Path) -> ClusterPaths:
    return ClusterPaths.of("a", tmp_path)


def test_containerd_keeps_to_its_own_folders(paths: ClusterPaths) -> None:
    config = tomllib.loads(node.containerd_config(paths))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    own = [
        config["root"],
        config["state"],
        config["grpc"]["address"],
        config["plugins"]["io.containerd.internal.v1.opt"]["path"],
        cri["cni"]["conf_dir"],
        cri["containerd"]["runtimes"]["runc"]["options"]["Root"],
    ]
    assert all(path.startswith(f"{paths.root}/") for path in own)
    assert cri["sandbox_image"] == node.PAUSE_IMAGE
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True


def test_the_kubelet_has_a_cgroup_and_folders_of_its_own(paths: ClusterPaths) -> None:
    config = node.kubelet_config(paths, REAL)
    assert config["cgroupRoot"] == "/tune-a"
    assert config["clusterDNS"] == ["10.212.3.10"]
    assert config["containerRuntimeEndpoint"] == f"unix://{paths.containerd_socket}"
    assert config["authentication"]["anonymous"] == {"enabled": False}
    for key in ("podLogsDir", "volumePluginDir", "resolvConf"):
        assert config[key].startswith(f"{paths.root}/")


def test_pods_get_addresses_of_their_cluster(paths: ClusterPaths) -> None:
    plugin = node.cni_config(paths, REAL)["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.211.3.0/24"}]]
    assert plugin["ipam"]["dataDir"].startswith(f"{paths.root}/")


def test_all_servers_of_a_real_cluster_run_in_its_namespace(paths: ClusterPaths) -> None:
    parts = [
        *controlplane.components(paths, REAL),
        node.containerd(paths, REAL, lambda: True),
        node.kubelet(paths, REAL),
        node.kube_proxy(paths, REAL),
        node.coredns(paths, REAL),
    ]
    for part in parts:
        assert list(part.command[:3]) == ["nsenter", "--net=/run/netns/tune-a", "--"]
    assert len({part.name for part in parts}) == len(parts)


def test_a_kwok_cluster_listens_on_loopback_only(paths: ClusterPaths) -> None:
    names = [*USUAL_PORTS, "kwok"]
    plan = Plan("a", "kwok", {name: 20000 + i for i, name in enumerate(names)}, "u", "p")
    for part in controlplane.components(paths, plan):
        listening = [word for word in part.command if "bind-address" in word or "listen-" in word]
        assert all("127.0.0.1" in word for word in listening)
        assert part.command[0].startswith(str(paths.bin))


def test_the_store_s_password_is_on_no_command_line(paths: ClusterPaths) -> None:
    store = controlplane.minio(paths, REAL)
    assert "open-sesame" not in " ".join(store.command)
    assert store.environment["MINIO_ROOT_PASSWORD"] == "open-sesame"


def test_dns_is_a_service_that_points_at_the_node() -> None:
    service, endpoints = node.dns_service(REAL)
    assert service["spec"]["clusterIP"] == "10.212.3.10"
    assert endpoints["endpoints"][0]["addresses"] == ["10.210.3.2"]
    assert endpoints["metadata"]["labels"]["kubernetes.io/service-name"] == "kube-dns"


def test_kubeadm_makes_certificates_for_the_address_in_use(tmp_path: Path) -> None:
    init, cluster = map(json.loads, pki.kubeadm_config(REAL, tmp_path).split("---"))
    assert init["localAPIEndpoint"]["advertiseAddress"] == "10.210.3.2"
    assert cluster["controlPlaneEndpoint"] == "10.210.3.2:6443"
    assert cluster["certificatesDir"] == str(tmp_path)
    assert set(pki.users(REAL)) >= {"admin", "kubelet", "kube-proxy"}
