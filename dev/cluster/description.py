"""cluster.json and env: what users of a cluster (tests, demo, people) need to know about it."""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from .paths import ClusterPaths, write_atomically
from .plan import Plan


@dataclass(frozen=True)
class Description:
    """The public description of a running cluster."""

    name: str
    flavour: str
    kubeconfig: str
    apiserver: str
    minio: str
    minioForPods: str | None  # noqa: N815 - names of a JSON file
    minioUser: str  # noqa: N815
    minioPassword: str  # noqa: N815
    nodeIP: str | None  # noqa: N815
    hostIPForPods: str | None  # noqa: N815
    bin: str
    logs: str
    audit: str
    ports: dict[str, int]


def describe(paths: ClusterPaths, plan: Plan) -> Description:
    """The description of the cluster that `plan` stands for."""
    return Description(
        name=plan.name,
        flavour=plan.flavour,
        kubeconfig=str(paths.kubeconfig),
        apiserver=plan.apiserver,
        minio=plan.minio,
        minioForPods=plan.minio if plan.real else None,
        minioUser=plan.minio_user,
        minioPassword=plan.minio_password,
        nodeIP=plan.host if plan.real else None,
        hostIPForPods=plan.gateway if plan.real else None,
        bin=str(paths.bin),
        logs=str(paths.logs),
        audit=str(paths.audit),
        ports=plan.ports,
    )


def write(paths: ClusterPaths, plan: Plan) -> None:
    """Write cluster.json and env; readable by the owner only, for they hold the store's keys."""
    description = describe(paths, plan)
    write_atomically(paths.root / "env", environment(description), mode=0o600)
    write_atomically(paths.description, json.dumps(asdict(description), indent=2), mode=0o600)


def environment(description: Description) -> str:
    """Lines for a shell's `source` or `eval`."""
    values = {
        "KUBECONFIG": description.kubeconfig,
        "TUNE_CLUSTER": str(Path(description.kubeconfig).parent / "cluster.json"),
        "MINIO_ENDPOINT": description.minio,
        "AWS_ACCESS_KEY_ID": description.minioUser,
        "AWS_SECRET_ACCESS_KEY": description.minioPassword,
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join([*lines, f'export PATH={shlex.quote(description.bin)}:"$PATH"', ""])
