"""Certificates that strict clients accept, and how long each lives."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.unit.reports.parts import SESSION, running, trusting
from tune_operator.reports.ca_secret import load_or_create_ca
from tune_operator.reports.certificates import (
    CertificateError,
    KeyPair,
    create_ca,
    create_leaf,
)
from tune_operator.reports.serving import ServingCertificate
from tune_trainer.protocol.messages import SESSION_PATH

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def parsed(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


def test_the_authority() -> None:
    certificate = parsed(create_ca(NOW))
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert not extensions.get_extension_for_class(x509.SubjectKeyIdentifier).critical
    assert certificate.not_valid_after_utc - NOW == timedelta(days=3650)
    assert certificate.not_valid_before_utc < NOW


def test_the_leaf() -> None:
    ca = create_ca(NOW)
    leaf = parsed(create_leaf(ca, ["tune-operator.tune-system.svc", "10.0.0.1", "::1"], NOW))
    leaf.verify_directly_issued_by(parsed(ca))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["tune-operator.tune-system.svc"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = parsed(ca).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert issuer.key_identifier == subject.digest
    assert leaf.not_valid_after_utc - NOW == timedelta(days=90)


def test_a_leaf_does_not_outlive_its_authority() -> None:
    ca = create_ca(NOW)
    leaf = create_leaf(ca, ["x"], ca.expires - timedelta(days=3))
    assert leaf.expires == ca.expires


def test_a_leaf_needs_a_host() -> None:
    with pytest.raises(ValueError, match="host"):
        create_leaf(create_ca(), [])


def other_key() -> KeyPair:
    return KeyPair(create_ca(NOW).certificate, create_ca(NOW).key)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (KeyPair(b"", b""), "no certificate authority"),
        (KeyPair(create_ca(NOW).certificate, b"rubbish"), "no certificate authority"),
        (other_key(), "key does not belong"),
        (create_leaf(create_ca(NOW), ["x"], NOW), "no certificate authority"),
        (create_ca(NOW - timedelta(days=4000)), "expired on 2025-01-16"),
    ],
    ids=["empty", "rubbish", "foreign key", "a leaf", "expired"],
)
def test_an_unusable_authority_says_why(pair: KeyPair, says: str) -> None:
    with pytest.raises(CertificateError, match=says):
        create_leaf(pair, ["x"], NOW)


def test_private_keys_do_not_show() -> None:
    assert "PRIVATE" not in repr(create_ca())


class Secret:
    """The Secret, with the API server's rule that a name is created once."""

    def __init__(self) -> None:
        self.data: Mapping[str, bytes] | None = None
        self.reads = 0

    async def read(self) -> Mapping[str, bytes] | None:
        self.reads += 1
        await asyncio.sleep(0)
        return self.data

    async def create(self, data: Mapping[str, bytes]) -> bool:
        await asyncio.sleep(0)
        if self.data is not None:
            return False
        self.data = data
        return True


async def test_replicas_that_start_together_use_one_authority() -> None:
    secret = Secret()
    pairs = await asyncio.gather(*(load_or_create_ca(secret.read, secret.create) for _ in range(3)))
    assert secret.reads > 3  # the losers have looked again
    assert len({pair.certificate for pair in pairs}) == 1
    later = await load_or_create_ca(secret.read, secret.create)
    assert later == pairs[0]


async def test_an_authority_that_is_there_is_never_replaced() -> None:
    secret = Secret()
    secret.data = {"tls.crt": b"damaged"}
    with pytest.raises(CertificateError, match="delete the Secret and restart"):
        await load_or_create_ca(secret.read, secret.create)
    assert secret.data == {"tls.crt": b"damaged"}


class Clock:
    def __init__(self) -> None:
        # So long ago that what is made two thirds of a leaf's life later is valid now.
        self.now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=60)

    def __call__(self) -> datetime:
        return self.now


def shown(serving: ServingCertificate, ca: KeyPair) -> x509.Certificate:
    """The leaf of a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting(ca).wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def test_a_new_leaf_comes_after_two_thirds_of_the_old_ones_life() -> None:
    clock = Clock()
    ca = create_ca(clock.now)
    serving = ServingCertificate(ca, ["localhost"], clock)
    first = shown(serving, ca)
    assert serving.renew_if_due() == timedelta(hours=6)
    clock.now += timedelta(days=59, hours=23)
    assert serving.renew_if_due() == timedelta(hours=1)
    assert shown(serving, ca) == first
    clock.now += timedelta(hours=1)
    serving.renew_if_due()
    second = shown(serving, ca)
    assert second != first
    assert second.not_valid_after_utc - first.not_valid_after_utc == timedelta(days=60)


def test_an_expired_authority_is_logged_and_the_old_leaf_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    ca = create_ca(clock.now)
    serving = ServingCertificate(ca, ["localhost"], clock)
    first = shown(serving, ca)
    clock.now += timedelta(days=4000)
    assert serving.renew_if_due() == timedelta(minutes=1)
    assert "no new server certificate: it expired" in caplog.text
    assert shown(serving, ca) == first


async def test_a_stranger_to_the_authority_does_not_connect() -> None:
    async with running() as run:
        run.ca = create_ca()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "localhost", run.server.port, ssl=trusting(run.ca), server_hostname="localhost"
            )
        assert (await run.post(SESSION_PATH, SESSION.to_json()))[0] == 200
