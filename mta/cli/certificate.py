"""A self-signed certificate, for a server that has none of its own yet.

`mta init` and the demonstration make one. Where it is kept, and when it is renewed, is left to the caller.
"""

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_BACKDATED = timedelta(hours=1)  # for a peer whose clock is slow
_COMMON_NAME_LIMIT = 64  # characters, X.520


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key (PKCS #8, not encrypted), both PEM."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)


def self_signed(hostname: str, *, now: datetime, days: int) -> Certificate:
    """A new EC P-256 key and a certificate for `hostname` (A-labels, or an IP address), good for `days` from `now`.

    Raises ValueError when `hostname` is not ASCII or `days` is not positive.
    """
    if days < 1:
        raise ValueError(f"a certificate is good for at least one day, not {days}")
    if not hostname or not hostname.isascii():
        raise ValueError(f"{hostname!r} cannot stand in a certificate; write an international name as xn-- labels")
    key = ec.generate_private_key(ec.SECP256R1())
    # A longer name stands in subjectAltName alone, where verifiers look for it anyway (RFC 9525 §6.3).
    named = len(hostname) <= _COMMON_NAME_LIMIT
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)] if named else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )
    for extension, critical in _extensions(hostname, key.public_key(), named=named):
        builder = builder.add_extension(extension, critical)
    return Certificate(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _extensions(
    hostname: str, public: ec.EllipticCurvePublicKey, *, named: bool
) -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (x509.SubjectAlternativeName([_general_name(hostname)]), not named),  # RFC 5280 §4.2.1.6
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        ),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        # Strict verifiers want it even where issuer and subject are one.
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
    ]


def _general_name(hostname: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(hostname.strip("[]")))
    except ValueError:
        return x509.DNSName(hostname)
