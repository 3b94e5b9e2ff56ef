"""The configuration files of a real node and of the control plane."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from dev.cluster import controlplane, kwok, node, pki
from dev.cluster.paths import ClusterPaths
from dev.cluster.plan import PORT_NAMES, USUAL_PORTS, Plan

LISTENS = re.compile(r"--(address|(bind|server)-address|listen-.*)=")
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
        kwok.component(paths, REAL),
    ]
    for part in parts:
        assert list(part.command[:3]) == ["nsenter", "--net=/run/netns/tune-a", "--"]
    assert len({part.name for part in parts}) == len(parts)


def test_a_kwok_cluster_listens_on_loopback_only(paths: ClusterPaths) -> None:
    plan = Plan("a", "kwok", {name: 20000 + i for i, name in enumerate(PORT_NAMES)}, "u", "p")
    for part in (*controlplane.components(paths, plan), kwok.component(paths, plan)):
        listening = [word for word in part.command if LISTENS.match(word)]
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


def test_a_node_beats_several_times_before_it_counts_as_lost(paths: ClusterPaths) -> None:
    manager = controlplane.controller_manager(paths, REAL, controlplane.POD_GC_THRESHOLD)
    assert "--node-monitor-grace-period=12s" in manager.command
    lease = node.kubelet_config(paths, REAL)["nodeLeaseDurationSeconds"]
    assert f"--node-lease-duration-seconds={lease}" in kwok.component(paths, REAL).command
    assert lease / 4 * 5 < 12  # both renew after a quarter


def test_the_threshold_of_pod_gc_is_the_caller_s(paths: ClusterPaths) -> None:
    manager = controlplane.components(paths, REAL, pod_gc_threshold=3)[3]
    assert "--terminated-pod-gc-threshold=3" in manager.command


def test_no_pod_is_scheduled_on_the_witness() -> None:
    (taint,) = kwok.witness()["spec"]["taints"]
    assert taint["effect"] == "NoSchedule"


def test_the_audit_log_tells_a_pod_s_uid_and_no_experiment_s_status(paths: ClusterPaths) -> None:
    server = controlplane.apiserver(paths, REAL)
    assert f"--audit-log-path={paths.audit}" in server.command
    created, *rest = yaml.safe_load(controlplane.AUDIT_POLICY.read_text())["rules"]
    assert (created["level"], created["verbs"]) == ("RequestResponse", ["create"])
    (ours,) = [
        rule
        for rule in rest
        if any(entry["group"] == "tuneoperator.io" for entry in rule.get("resources", []))
    ]
    assert ours["level"] == "Metadata"
    assert rest[-1] == {"level": "None"}
