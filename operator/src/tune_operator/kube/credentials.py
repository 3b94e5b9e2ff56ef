"""Where the API server is and how to log in: the Pod's service account, else the kubeconfig."""

import os
from pathlib import Path

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, InClusterConfigLoader

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoCluster(Exception):
    """Neither a service account nor a usable kubeconfig; the message says what to set."""


async def load(configuration: Configuration, service_account: Path = SERVICE_ACCOUNT) -> None:
    """Fill in address, trust and credentials; called again it takes over what was rotated.

    The service-account token is a file that the kubelet replaces: it is read again every minute
    anyway. A client certificate is read once, when the connection pool is made. Raises NoCluster.
    """
    try:
        if os.environ.get(SERVICE_HOST_ENV_NAME) and (service_account / "token").exists():
            loader = InClusterConfigLoader(  # type: ignore[no-untyped-call]
                token_filename=str(service_account / "token"),
                cert_filename=str(service_account / "ca.crt"),
            )
            loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
            return
        # The package looks the variable up when it is imported, which may be too early.
        path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, client_configuration=configuration, persist_config=False
        )
    except Exception as error:  # whatever the package's parsers raise
        raise NoCluster(
            f"no credentials for a cluster: {error}; set KUBECONFIG to a readable kubeconfig, "
            "or run in a Pod with a service account"
        ) from error
