"""The server's certificates: one authority for years, in a Secret; leaves in memory only.

Trainers get the authority's certificate when their Pod is made, so it must outlive every Pod, while
a leaf may be made anew at any time, by any replica.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=90)
_SKEW = timedelta(hours=1)
"""Clocks of nodes differ: a certificate made now must be valid there."""


class CertificateError(Exception):
    """An authority that cannot be used; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def expires(self) -> datetime:
        """End of the certificate's validity (UTC)."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc


def create_ca(now: datetime | None = None) -> KeyPair:
    """A new self-signed authority that may sign leaves and nothing else."""
    start = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("tune-operator CA")
    builder = (
        _builder(key.public_key(), start, CA_LIFETIME)
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def create_leaf(ca: KeyPair, hosts: Sequence[str], now: datetime | None = None) -> KeyPair:
    """A server certificate for DNS names and IP addresses, signed by `ca`.

    Raises CertificateError when `ca` cannot sign, ValueError without a host.
    """
    if not hosts:
        raise ValueError("a server certificate needs at least one host")
    start = now or datetime.now(UTC)
    issuer, signer = load_ca(ca, start)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    # A leaf must not outlive its authority.
    lifetime = min(LEAF_LIFETIME, issuer.not_valid_after_utc - start)
    builder = (
        _builder(key.public_key(), start, lifetime)
        .subject_name(_name("tune-operator"))
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id),
            critical=False,
        )
    )
    return _pair(builder.sign(signer, hashes.SHA256()), key)


def load_ca(pair: KeyPair, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Reads and checks an authority; raises CertificateError that says what is wrong with it."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise CertificateError(f"it is no certificate authority ({type(error).__name__})") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not constraints.ca:
        raise CertificateError("it is no certificate authority with an ECDSA key")
    if certificate.public_key() != key.public_key():
        raise CertificateError("its key does not belong to its certificate")
    if certificate.not_valid_after_utc <= now:
        raise CertificateError(f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return certificate, key


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    key: ec.EllipticCurvePublicKey, start: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _SKEW)
        .not_valid_after(start + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
