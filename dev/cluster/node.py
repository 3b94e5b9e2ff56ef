"""The real flavour's node: containerd, kubelet, kube-proxy and CoreDNS as host processes."""

import json
from collections.abc import Callable
from typing import Any

from .controlplane import NODE_LEASE_SECONDS, in_namespace
from .health import answers
from .kubectl import Kubectl
from .paths import ClusterPaths, write_atomically
from .plan import Plan
from .processes import Component

PAUSE_IMAGE = "dev.local/pause:dev"
CNI_PLUGINS = "/usr/lib/cni"
PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def containerd_config(paths: ClusterPaths) -> str:
    """containerd's configuration, version 2 (1.6 and 1.7 read it)."""
    text = json.dumps  # a JSON string is a TOML string
    return f"""version = 2
root = {text(str(paths.data / "containerd"))}
state = {text(str(paths.run / "containerd"))}

[grpc]
  address = {text(str(paths.containerd_socket))}

[plugins."io.containerd.internal.v1.opt"]
  path = {text(str(paths.data / "containerd-opt"))}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {text(PAUSE_IMAGE)}
  # Where CAP_SYS_RESOURCE is missing nobody may lower an oom_score_adj.
  restrict_oom_score_adj = true
  disable_apparmor = true
  # Below the run folder, so that `down` finds and unmounts them.
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {text(CNI_PLUGINS)}
    conf_dir = {text(str(paths.config / "cni"))}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = {text(str(paths.run / "runc"))}
        SystemdCgroup = false
"""


def cni_config(paths: ClusterPaths, plan: Plan) -> dict[str, Any]:
    """The Pod network. ptp routes every packet through the node's own namespace, so Services
    work also between Pods of one node where the kernel does not filter bridges."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": plan.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(paths.run / "cni"),
    }
    return {
        "cniVersion": "0.4.0",
        "name": plan.namespace,
        "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}],
    }


def kubelet_config(paths: ClusterPaths, plan: Plan) -> dict[str, Any]:
    """The kubelet's configuration file."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plan.host,
        "healthzBindAddress": plan.host,
        "containerRuntimeEndpoint": f"unix://{paths.containerd_socket}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(paths.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.namespace}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "oomScoreAdj": 0,
        "clusterDomain": "cluster.local",
        "clusterDNS": [plan.dns],
        "resolvConf": str(paths.config / "resolv.conf"),
        "podLogsDir": str(paths.data / "pod-logs"),
        "volumePluginDir": str(paths.data / "volume-plugins"),
        "serializeImagePulls": False,
        "nodeLeaseDurationSeconds": NODE_LEASE_SECONDS,
        # There is no registry to pull an image from again: never collect one, and let a full
        # disk of the developer's machine evict nobody.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
    }


def corefile(paths: ClusterPaths, plan: Plan) -> str:
    """CoreDNS: the cluster's names; every other name does not exist."""
    return f"""cluster.local in-addr.arpa ip6.arpa {{
    bind {plan.host}
    errors
    ready {plan.host}:8181
    kubernetes {{
        kubeconfig {paths.kubeconfig}
    }}
}}
. {{
    bind {plan.host}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def write_config(paths: ClusterPaths, plan: Plan) -> None:
    """Write the configuration files of all components."""
    write_atomically(paths.config / "containerd.toml", containerd_config(paths))
    cni = json.dumps(cni_config(paths, plan), indent=2)
    write_atomically(paths.config / "cni" / "10-tune.conflist", cni)
    write_atomically(
        paths.config / "kubelet.json", json.dumps(kubelet_config(paths, plan), indent=2)
    )
    write_atomically(paths.config / "Corefile", corefile(paths, plan))
    write_atomically(paths.config / "resolv.conf", f"nameserver {plan.host}\n")


def containerd(paths: ClusterPaths, plan: Plan, ready: Callable[[], bool]) -> Component:
    config = paths.config / "containerd.toml"
    command = ["containerd", f"--config={config}"]
    files = [config, paths.config / "cni" / "10-tune.conflist"]
    return Component("containerd", in_namespace(plan, command), PATH, files, ready)


def kubelet(paths: ClusterPaths, plan: Plan) -> Component:
    config = paths.config / "kubelet.json"
    kubeconfig = paths.config / "kubelet.kubeconfig"
    command = [
        str(paths.bin / "kubelet"),
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={paths.data / 'kubelet'}",
        f"--cert-dir={paths.run / 'kubelet-pki'}",
        f"--hostname-override={plan.name}",
        f"--node-ip={plan.host}",
    ]
    ready = answers(f"http://{plan.host}:10248/healthz")
    return Component("kubelet", in_namespace(plan, command), PATH, [config, kubeconfig], ready)


def kube_proxy(paths: ClusterPaths, plan: Plan) -> Component:
    kubeconfig = paths.config / "kube-proxy.kubeconfig"
    command = [
        str(paths.bin / "kube-proxy"),
        f"--kubeconfig={kubeconfig}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={plan.pods}",
        f"--hostname-override={plan.name}",
        f"--healthz-bind-address={plan.host}:10256",
        "--oom-score-adj=0",
        # Limits of connection tracking belong to the host, which is not ours to tune.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]
    ready = answers(f"http://{plan.host}:10256/healthz")
    return Component("kube-proxy", in_namespace(plan, command), PATH, [kubeconfig], ready)


def coredns(paths: ClusterPaths, plan: Plan) -> Component:
    config = paths.config / "Corefile"
    command = [str(paths.bin / "coredns"), f"-conf={config}"]
    ready = answers(f"http://{plan.host}:8181/ready")
    files = [config, paths.kubeconfig]
    return Component("coredns", in_namespace(plan, command), {}, files, ready)


def kubelet_access() -> dict[str, Any]:
    """Lets the API server's client certificate use kubelets: `kubectl logs` and `exec`."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kube-apiserver-kubelet-client"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "kube-apiserver-kubelet-client"}],
    }


def dns_service(plan: Plan) -> list[dict[str, Any]]:
    """Service kube-dns without a selector: CoreDNS runs beside the Pods, not in one."""
    labels = {"kubernetes.io/service-name": "kube-dns"}
    metadata = {"namespace": "kube-system", "name": "kube-dns"}
    ports = [{"name": name.lower(), "port": 53, "protocol": name} for name in ("UDP", "TCP")]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"clusterIP": plan.dns, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [plan.host], "conditions": {"ready": True}}],
            "ports": ports,
        },
    ]


def wait_ready(kubectl: Kubectl, plan: Plan) -> None:
    """Wait until the node takes Pods."""
    path = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    kubectl.wait("node Ready", "True", "get", "node", plan.name, "-o", path)
