"""The servers both flavours share: etcd, API server, controller manager, scheduler, MinIO."""

from .health import answers
from .paths import HERE, ClusterPaths
from .pki import UNUSED_ADDRESS
from .plan import Plan
from .processes import Component

ISSUER = "https://kubernetes.default.svc.cluster.local"
# The stock 20 and 30 requests a second would make the controllers, not what is under test, the
# bottleneck of a test with thousands of Pods.
CLIENT_RATE = ["--kube-api-qps=1000", "--kube-api-burst=2000"]
AUDIT_POLICY = HERE / "audit-policy.yaml"
# A node whose lease was not renewed for 12 s is unreachable; the stock 50 s make tests of it slow.
# Its Pods get their taint at once, however many of the few nodes are gone.
NODE_LOSS = [
    "--node-monitor-period=1s",
    "--node-monitor-grace-period=12s",
    "--node-eviction-rate=10",
    "--secondary-node-eviction-rate=10",
    "--large-cluster-size-threshold=1",
]
NODE_LEASE_SECONDS = 8  # renewed each 2 s
POD_GC_THRESHOLD = 12500  # the stock one: far above what a test leaves lying


def components(
    paths: ClusterPaths, plan: Plan, pod_gc_threshold: int = POD_GC_THRESHOLD
) -> list[Component]:
    """The servers in the order of their start."""
    return [
        etcd(paths, plan),
        minio(paths, plan),
        apiserver(paths, plan),
        controller_manager(paths, plan, pod_gc_threshold),
        scheduler(paths, plan),
    ]


def in_namespace(plan: Plan, command: list[str]) -> list[str]:
    """The command inside the cluster's network namespace, if it has one.

    nsenter and not `ip netns exec`: the latter mounts a fresh /sys, which hides the cgroups.
    """
    if not plan.real:
        return command
    return ["nsenter", f"--net=/run/netns/{plan.namespace}", "--", *command]


def etcd(paths: ClusterPaths, plan: Plan) -> Component:
    client = f"http://127.0.0.1:{plan.ports['etcd']}"
    peer = f"http://127.0.0.1:{plan.ports['etcd-peer']}"
    command = [
        str(paths.bin / "etcd"),
        "--name=dev",
        f"--data-dir={paths.data / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=dev={peer}",
        # Survives killed processes, not a power failure, which a throw-away cluster need not.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    # Readiness shows in the API server's: from the host, a namespace's loopback is out of reach.
    return Component("etcd", in_namespace(plan, command), {}, [], lambda: True)


def minio(paths: ClusterPaths, plan: Plan) -> Component:
    command = [
        str(paths.bin / "minio"),
        "server",
        "--quiet",
        f"--address={plan.host}:{plan.ports['minio']}",
        str(paths.data / "minio"),
    ]
    environment = {
        "MINIO_ROOT_USER": plan.minio_user,
        "MINIO_ROOT_PASSWORD": plan.minio_password,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "HOME": str(paths.run),
    }
    ready = answers(f"{plan.minio}/minio/health/ready")
    return Component("minio", in_namespace(plan, command), environment, [], ready)


def apiserver(paths: ClusterPaths, plan: Plan) -> Component:
    pki = paths.pki
    command = [
        str(paths.bin / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{plan.ports['etcd']}",
        f"--bind-address={plan.host}",
        f"--secure-port={plan.ports['apiserver']}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--service-cluster-ip-range={plan.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        f"--audit-policy-file={AUDIT_POLICY}",
        f"--audit-log-path={paths.audit}",
        "--audit-log-maxsize=1000",  # MB: who reads it wants all of it
    ]
    if plan.real:
        command += [
            f"--advertise-address={plan.host}",
            f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
        ]
    else:
        # 127.0.0.1 cannot be published as an endpoint, and no Pod runs that would look it up.
        unused = f"--advertise-address={UNUSED_ADDRESS}"
        command += [unused, "--endpoint-reconciler-type=none"]
    ready = answers(f"{plan.apiserver}/readyz", pki / "ca.crt")
    files = [AUDIT_POLICY]
    return Component("kube-apiserver", in_namespace(plan, command), {}, files, ready)


def _serving(paths: ClusterPaths, plan: Plan, name: str) -> list[str]:
    """Flags of a controller's own HTTPS port, used for its health only."""
    return [
        f"--bind-address={plan.host}",
        f"--secure-port={plan.ports[name]}",
        f"--tls-cert-file={paths.pki / 'apiserver.crt'}",
        f"--tls-private-key-file={paths.pki / 'apiserver.key'}",
        "--leader-elect=false",  # one replica; after a kill it need not wait for a lease
    ]


def controller_manager(paths: ClusterPaths, plan: Plan, pod_gc_threshold: int) -> Component:
    kubeconfig = paths.config / "controller-manager.kubeconfig"
    command = [
        str(paths.bin / "kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--root-ca-file={paths.pki / 'ca.crt'}",
        f"--service-account-private-key-file={paths.pki / 'sa.key'}",
        f"--cluster-signing-cert-file={paths.pki / 'ca.crt'}",
        f"--cluster-signing-key-file={paths.pki / 'ca.key'}",
        "--use-service-account-credentials=true",
        f"--terminated-pod-gc-threshold={pod_gc_threshold}",
        *NODE_LOSS,
        *_serving(paths, plan, "controller-manager"),
        *CLIENT_RATE,
    ]
    url = f"https://{plan.host}:{plan.ports['controller-manager']}/healthz"
    ready = answers(url, paths.pki / "ca.crt")
    return Component(
        "kube-controller-manager", in_namespace(plan, command), {}, [kubeconfig], ready
    )


def scheduler(paths: ClusterPaths, plan: Plan) -> Component:
    kubeconfig = paths.config / "scheduler.kubeconfig"
    command = [
        str(paths.bin / "kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        *_serving(paths, plan, "scheduler"),
        *CLIENT_RATE,
    ]
    url = f"https://{plan.host}:{plan.ports['scheduler']}/healthz"
    ready = answers(url, paths.pki / "ca.crt")
    return Component("kube-scheduler", in_namespace(plan, command), {}, [kubeconfig], ready)
