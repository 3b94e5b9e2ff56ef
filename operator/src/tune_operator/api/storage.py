"""The ``storage`` section: where checkpoints go, and whose keys are used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tune_operator.api.base import Model
from tune_operator.api.scalars import (
    ENDPOINT_PATTERN,
    REGION_PATTERN,
    STORE_URI_PATTERN,
    ObjectName,
)


class SecretRef(Model):
    """A Secret in the experiment's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class Credentials(Model):
    """Keys of the object store."""

    mode: Literal["Secret"] = Field(description="Secret: the keys lie in a Secret.")
    secret_ref: SecretRef = Field(
        description="Secret with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for "
        "temporary ones, AWS_SESSION_TOKEN. The operator needs permission to get this Secret."
    )


class Storage(Model):
    """An S3-compatible store."""

    uri: Annotated[str, Field(max_length=512, pattern=STORE_URI_PATTERN)] = Field(
        description="Bucket and prefix below which the run is stored, such as s3://tune/team-a."
    )
    endpoint: Annotated[str, Field(max_length=512, pattern=ENDPOINT_PATTERN)] = Field(
        description="URL of the store as trainers reach it, such as https://minio.storage.svc:9000."
    )
    region: Annotated[str, Field(min_length=1, max_length=63, pattern=REGION_PATTERN)] = Field(
        default="us-east-1", description="Region of the bucket. Default us-east-1."
    )
    credentials: Credentials = Field(description="Which keys the operator and the trainers use.")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of the run's checkpoints and journal when the TuneExperiment is "
        "deleted: Delete removes them from the store. Default Retain.",
    )
