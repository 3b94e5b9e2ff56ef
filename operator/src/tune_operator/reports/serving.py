"""The certificate the server shows, made anew before it expires while connections live on."""

import asyncio
import logging
import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from tune_operator.reports.certificates import CertificateError, KeyPair, create_leaf

log = logging.getLogger(__name__)

_SHORTEST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=6)
"""Wall clocks jump; looking often costs nothing."""


def utc_now() -> datetime:
    """The wall clock, which certificates are measured by."""
    return datetime.now(UTC)


class ServingCertificate:
    """An SSL context whose leaf is replaced in place: new handshakes get the new one."""

    def __init__(
        self, ca: KeyPair, hosts: Sequence[str], now: Callable[[], datetime] = utc_now
    ) -> None:
        """Makes the first leaf; raises CertificateError when `ca` cannot sign."""
        self._ca = ca
        self._hosts = tuple(hosts)
        self._now = now
        self._renew_at = now()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._renew()

    async def run(self) -> None:
        """Renews for as long as the server lives; never ends by itself."""
        while True:
            pause = self.renew_if_due()
            await asyncio.sleep(pause.total_seconds())

    def renew_if_due(self) -> timedelta:
        """Shows a new leaf when two thirds of the old one's life are over; returns the pause.

        An authority that cannot sign any more is logged: the old leaf still serves for a third.
        """
        if self._now() >= self._renew_at:
            try:
                self._renew()
            except CertificateError as error:
                log.error("no new server certificate: %s", error)  # noqa: TRY400
            else:
                log.info("the server certificate was renewed, next on %s", self._renew_at.date())
        return min(max(self._renew_at - self._now(), _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def _renew(self) -> None:
        now = self._now()
        leaf = create_leaf(self._ca, self._hosts, now)
        _load(self.context, leaf)
        self._renew_at = now + (leaf.expires - now) * 2 / 3


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Loads a pair into a context. Python loads only files: one in memory where there is such a
    thing (Linux, where the root file system may be read-only), else a private temporary one.
    """
    pem = pair.certificate + pair.key
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("leaf")
        with os.fdopen(descriptor, "wb") as memory:
            memory.write(pem)
            memory.flush()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(file.name)
