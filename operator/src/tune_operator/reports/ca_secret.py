"""Where the authority lives: made once, by whichever replica is first, and read by all."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from tune_operator.reports.certificates import CertificateError, KeyPair, create_ca, load_ca

CERTIFICATE_KEY = "tls.crt"
PRIVATE_KEY = "tls.key"
"""Keys of the Secret, as its type kubernetes.io/tls demands."""

Read = Callable[[], Awaitable[Mapping[str, bytes] | None]]
"""The Secret's data; None when there is none."""
Create = Callable[[Mapping[str, bytes]], Awaitable[bool]]
"""Creates the Secret; False when there was one by now."""


async def load_or_create_ca(read: Read, create: Create) -> KeyPair:
    """The authority all replicas use; raises CertificateError when the existing one is no use.

    Two replicas may find nothing and both create: the API server lets one of them, the other reads.
    An authority that is there is never replaced, because running Pods trust it.
    """
    data = await read()
    if data is None:
        made = create_ca()
        if await create({CERTIFICATE_KEY: made.certificate, PRIVATE_KEY: made.key}):
            return made
        data = await read()
        if data is None:
            raise CertificateError("the CA's Secret was deleted while it was read; start again")
    found = KeyPair(data.get(CERTIFICATE_KEY, b""), data.get(PRIVATE_KEY, b""))
    try:
        load_ca(found, datetime.now(UTC))
    except CertificateError as error:
        raise CertificateError(
            f"the CA in the operator's Secret cannot be used: {error}; delete the Secret and "
            "restart the operator to have a new one made (running trainers will not trust it)"
        ) from None
    return found
