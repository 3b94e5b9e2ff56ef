"""Opens the store a specification names: the one place where text becomes a client."""

from tune_operator.store.credentials import StaticCredentials
from tune_operator.store.location import Endpoint, Location
from tune_operator.store.measured import MeasuredStore, Observe
from tune_operator.store.minio_store import MinioStore
from tune_operator.store.object_store import ObjectStore

DEFAULT_REGION = "us-east-1"


def open_store(
    uri: str,
    endpoint: str | None,
    region: str | None,
    credentials: StaticCredentials,
    observe: Observe | None = None,
) -> ObjectStore:
    """A store for the bucket of `uri`; nothing is sent yet. The caller closes it.

    An empty endpoint means AWS, an empty region us-east-1. Raises BadLocation.
    """
    location = Location.parse(uri)
    store: ObjectStore = MinioStore(
        Endpoint.parse(endpoint), region or DEFAULT_REGION, location.bucket, credentials
    )
    return MeasuredStore(store, observe) if observe else store
