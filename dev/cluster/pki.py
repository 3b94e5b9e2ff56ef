"""Keys, certificates and kubeconfigs, made by kubeadm: the cluster's own way to make them."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from .binaries import KUBERNETES_VERSION
from .errors import ClusterError
from .paths import ClusterPaths, write_atomically
from .plan import Plan

CERTIFICATES = ("ca", "apiserver", "apiserver-kubelet-client", "sa")
# kubeadm wants an address that is not loopback. Nothing dials it: a kwok cluster publishes no
# endpoints, and kubeconfigs name the control plane's real one. (RFC 5737: for documentation)
UNUSED_ADDRESS = "198.51.100.1"


def users(plan: Plan) -> dict[str, tuple[str, str]]:
    """Kubeconfig name to (user, group); names and groups are the ones Kubernetes' RBAC knows."""
    known = {
        "admin": ("admin", "system:masters"),
        "controller-manager": ("system:kube-controller-manager", ""),
        "scheduler": ("system:kube-scheduler", ""),
    }
    if plan.real:
        known["kubelet"] = (f"system:node:{plan.name}", "system:nodes")
        known["kube-proxy"] = ("system:kube-proxy", "")
    return known


def kubeadm_config(plan: Plan, certificates: Path) -> str:
    """kubeadm's configuration; YAML documents that are JSON."""
    address = plan.host if plan.real else UNUSED_ADDRESS
    api = "kubeadm.k8s.io/v1beta4"
    init = {
        "apiVersion": api,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": address, "bindPort": plan.ports["apiserver"]},
        # Given, so that kubeadm does not look for a runtime on this machine.
        "nodeRegistration": {"name": plan.name, "criSocket": "unix:///unused.sock"},
    }
    cluster = {
        "apiVersion": api,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": KUBERNETES_VERSION,
        "clusterName": plan.name,
        "certificatesDir": str(certificates),
        "controlPlaneEndpoint": f"{plan.host}:{plan.ports['apiserver']}",
        "networking": {"serviceSubnet": plan.services, "dnsDomain": "cluster.local"},
        "apiServer": {"certSANs": [plan.host, "localhost"]},
    }
    return f"{json.dumps(init, indent=2)}\n---\n{json.dumps(cluster, indent=2)}\n"


def ensure(paths: ClusterPaths, plan: Plan) -> None:
    """Make certificates (once) and kubeconfigs (whenever the address changed).

    Raises:
        ClusterError: kubeadm failed.
    """
    log = paths.logs / "kubeadm.log"
    kubeadm = str(paths.bin / "kubeadm")
    if not paths.pki.exists():
        # Made aside and renamed: a folder that exists is complete.
        partial = paths.root / "pki.new"
        shutil.rmtree(partial, ignore_errors=True)
        config = paths.config / "kubeadm-pki.yaml"
        write_atomically(config, kubeadm_config(plan, partial))
        for name in CERTIFICATES:
            _run([kubeadm, "init", "phase", "certs", name, "--config", str(config)], log)
        os.rename(partial, paths.pki)  # noqa: PTH104
    config = paths.config / "kubeadm.yaml"
    text = kubeadm_config(plan, paths.pki)
    wanted = {paths.config / f"{name}.kubeconfig": user for name, user in users(plan).items()}
    if config.exists() and config.read_text() == text and all(map(Path.exists, wanted)):
        return
    write_atomically(paths.config / "kubeadm-users.yaml", text)
    for file, (user, group) in wanted.items():
        command = [
            kubeadm,
            "kubeconfig",
            "user",
            "--config",
            str(paths.config / "kubeadm-users.yaml"),
        ]
        content = _run([*command, "--client-name", user, *(["--org", group] if group else [])], log)
        write_atomically(file, content, mode=0o600)
    write_atomically(paths.kubeconfig, (paths.config / "admin.kubeconfig").read_text(), mode=0o600)
    write_atomically(config, text)  # last: says that all kubeconfigs belong to it


def _run(command: list[str], log: Path) -> str:
    with log.open("ab") as output:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=output, text=True, check=False
        )
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command[:5])} failed", log=log)
    return done.stdout
