"""Does a host's certificate chain satisfy TLSA records (RFC 7672 §3), and which chain did the host show?

Python's `ssl` knows nothing of DANE: the handshake is made without verification, and its chain is judged here before
MAIL is said. X.509 paths are built and checked by `cryptography`, never by OpenSSL's own trust; it bounds the
signatures that are checked, so that certificates which vouch for each other in circles cost milliseconds.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tlsa import DANE_EE, DANE_TA, TlsaRecord
from mta.mail.reply import clean

MAX_CHAIN = 16
"""Certificates of a host that are looked at. Real chains have five at most; who sends hundreds wants our time."""

_MAX_WHY = 300
_DER = 2  # `_ssl.ENCODING_DER`


@dataclass(frozen=True, slots=True)
class Proof:
    """The judgement of one chain."""

    failure: TlsFailure | None
    """None: it satisfies a record."""
    why: str
    """For people: the record that matched, or what is wrong. What a host's certificate says in it is cleaned."""
    name: str = ""
    """The reference identifier that the certificate has; empty under usage 3, which looks at none."""

    @property
    def holds(self) -> bool:
        """Whether mail may be sent there."""
        return self.failure is None


def presented_chain(tls: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates that a host showed, as DER, its own first; unverified. Empty before the handshake.

    CPython has this as a method from 3.13 on, before that only inside its `_ssl` object (since 3.10); where there is
    neither, the host's own certificate must do, which serves usage 3 and fails usage 2, on the safe side.
    """
    for owner in (tls, getattr(tls, "_sslobj", None)):
        get = getattr(owner, "get_unverified_chain", None)
        if get is not None:
            chain = get() or ()
            return tuple(one if isinstance(one, bytes) else one.public_bytes(_DER) for one in chain)
    leaf = tls.getpeercert(binary_form=True)
    return (leaf,) if leaf else ()


def prove(chain: tuple[bytes, ...], records: tuple[TlsaRecord, ...], names: tuple[str, ...], now: datetime) -> Proof:
    """Judge a chain, the host's own certificate first, by usable records.

    Usage 3 looks at the host's own certificate alone: neither its names nor its dates count (RFC 7672 §3.1.1). Usage 2
    wants a path from it to a matching authority, all dates good, and one of the names (RFC 7672 §3.1.2). Any one
    record suffices.
    """
    if not chain:
        return Proof(TlsFailure.VALIDATION_FAILURE, "the host showed no certificate")
    for record in records:
        if record.usage == DANE_EE and record.matches(chain[0]):
            return Proof(None, f"TLSA {record.usage} {record.selector} {record.matching} matches")
    authorities = tuple(record for record in records if record.usage == DANE_TA)
    if not authorities:
        return Proof(TlsFailure.CERTIFICATE_NOT_TRUSTED, "the certificate matches no TLSA record")
    return _by_authority(chain[:MAX_CHAIN], authorities, names, now)


def _by_authority(
    chain: tuple[bytes, ...], records: tuple[TlsaRecord, ...], names: tuple[str, ...], now: datetime
) -> Proof:
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
    except ValueError as error:
        return Proof(TlsFailure.VALIDATION_FAILURE, f"the host's certificate does not parse: {_told(error)}")
    others = [one for octets in chain[1:] if (one := _parsed(octets)) is not None]
    # a bare key in DNS (2 1 0) needs its certificate in the chain (RFC 7671 §5.2.3), a whole certificate in DNS
    # (2 0 0) does not (RFC 7671 §5.2.2); and the host's own certificate is never its own authority
    candidates = [octets for octets in chain[1:] if any(record.matches(octets) for record in records)]
    candidates += [record.data for record in records if (record.selector, record.matching) == (0, 0)]
    anchors = [one for octets in candidates if octets != chain[0] and (one := _parsed(octets)) is not None]
    if not anchors:
        return Proof(TlsFailure.CERTIFICATE_NOT_TRUSTED, "no certificate of the chain matches a TLSA record")
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        span = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        return Proof(TlsFailure.CERTIFICATE_EXPIRED, f"the certificate is valid from {span}")
    named = [name for name in names if is_named(leaf, name)]
    if not named:
        return Proof(TlsFailure.CERTIFICATE_HOST_MISMATCH, f"the certificate is not for {' or '.join(names)}")
    return _path(leaf, others, anchors, named[0], now)


def _path(
    leaf: x509.Certificate, others: list[x509.Certificate], anchors: list[x509.Certificate], name: str, now: datetime
) -> Proof:
    builder = PolicyBuilder().store(Store(anchors)).time(now).extension_policies(ca_policy=_CA, ee_policy=_HOST)
    try:
        builder.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
    except VerificationError as error:
        return Proof(TlsFailure.CERTIFICATE_NOT_TRUSTED, f"no path to an authority of a TLSA record: {_told(error)}")
    except (ValueError, UnsupportedAlgorithm) as error:  # an extension or a key that does not parse
        return Proof(TlsFailure.VALIDATION_FAILURE, f"the chain cannot be verified: {_told(error)}")
    return Proof(None, f"an authority of a TLSA record vouches for {name}", name)


def is_named(certificate: x509.Certificate, name: str) -> bool:
    """Whether a certificate is for a host: a DNS name of its subjectAltName, `*` standing for the first label alone.

    The common name is not looked at (RFC 9525 §2), though RFC 7672 §3.2.3 still would.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    wanted = name.lower().rstrip(".")
    above = wanted.partition(".")[2]
    patterns = [one.lower().rstrip(".") for one in found.get_values_for_type(x509.DNSName)]
    return any(one == wanted or (one.startswith("*.") and bool(above) and one[2:] == above) for one in patterns)


def _told(error: Exception) -> str:
    return clean(str(error))[:_MAX_WHY]


def _parsed(octets: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(octets)
    except ValueError:
        return None


# The Web's rules (critical names, key identifiers, at most so many days) are not those of the authorities that people
# make for DANE; what makes an authority one, and a certificate a server's, is asked all the same.


def _is_authority(policy: Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("an issuer is no certificate authority")


def _may_sign(policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer may not sign certificates")


def _is_for_servers(policy: Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    allowed = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usage is not None and not allowed.intersection(usage):
        raise ValueError("the certificate is not for servers")


_CA = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_servers)
)
_HOST = (
    ExtensionPolicy.permit_all()
    .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_servers)
)
