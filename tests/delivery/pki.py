"""Certificates of every kind, good and bad, for the tests of DANE and MTA-STS."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mta.delivery.tlsa import TlsaRecord

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        """The key, as `cryptography` encodes it."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def tlsa(self, usage: int, selector: int, matching: int = 1) -> TlsaRecord:
        """Return a record about it; matching 0 and 1 only."""
        selected = self.spki if selector else self.der
        return TlsaRecord(usage, selector, matching, sha256(selected).digest() if matching else selected)

    def write(self, path: Path, *chain: "Identity") -> Path:
        """Write certificate, chain and key as one PEM file."""
        pems = [one.certificate.public_bytes(Encoding.PEM) for one in (self, *chain)]
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(b"".join([*pems, key]))
        return path


def issue(
    name: str,
    now: datetime,
    by: Identity | None = None,
    *,
    ca: bool = False,
    names: tuple[str, ...] = (),
    starts: timedelta = -DAY,
    lasts: timedelta = 90 * DAY,
    usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH,),
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Identity:
    """Make a certificate; one without an issuer signs itself, one without a key gets a new one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + starts + lasts)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    if not ca and usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
    return Identity(builder.sign(by.key if by else key, SHA256()), key)
