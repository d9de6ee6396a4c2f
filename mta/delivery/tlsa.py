"""TLSA records, and what DNS says of a host's names, as values (RFC 6698 §2.1, RFC 7671, RFC 7672 §3.1).

Which records apply is decided in `dane`, whether a host's certificates match one in `dane_chain`.
"""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

DANE_TA = 2
"""An authority's certificate or key (RFC 7672 §3.1.2)."""
DANE_EE = 3
"""The host's own certificate or key (RFC 7672 §3.1.1)."""

_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
_MAX_LENGTH = 4  # octets of a DER length; a certificate of 4 GB is none


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """One TLSA record, whatever its numbers mean."""

    usage: int
    selector: int
    """0: the whole certificate, 1: its public key."""
    matching: int
    """0: all octets, 1: SHA-256, 2: SHA-512."""
    data: bytes

    def __str__(self) -> str:
        """The record as a zone file has it."""
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"

    @property
    def is_usable(self) -> bool:
        """Whether anything could match: known numbers, data that is what they say (RFC 7672 §2.2).

        Usages 0 and 1 are of no use to SMTP (RFC 7672 §3.1.3). Digests are not weighed against each other: one record
        that matches is enough, so that the agility of RFC 7672 §5 is left out.
        """
        if self.usage not in (DANE_TA, DANE_EE) or self.selector not in (0, 1):
            return False
        if self.matching in _DIGESTS:
            return len(self.data) == _DIGESTS[self.matching]().digest_size
        return self.matching == 0 and self._parses()

    def matches(self, certificate: bytes) -> bool:
        """Whether a certificate, as DER, is what the record speaks of. The usage is not looked at."""
        try:
            selected = public_key_info(certificate) if self.selector == 1 else certificate
        except ValueError:
            return False
        if (digest := _DIGESTS.get(self.matching)) is not None:
            return digest(selected).digest() == self.data
        return self.matching == 0 and selected == self.data

    def _parses(self) -> bool:
        try:
            if self.selector == 0:
                x509.load_der_x509_certificate(self.data)
            else:
                load_der_public_key(self.data)
        except (ValueError, UnsupportedAlgorithm):
            return False
        return True


@dataclass(frozen=True, slots=True)
class TlsaAnswer:
    """What stands at a name. No records means that there certainly are none."""

    records: tuple[TlsaRecord, ...] = ()
    secure: bool = False
    """The resolver, which is trusted to do so, validated all of the answer."""


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """How sure a host's addresses are. All names in lower case, without the final dot."""

    canonical: str
    """The name that has the addresses, at the end of all aliases."""
    secure: bool
    """The addresses of one family at least, and each alias on the way to them, were validated."""
    name_secure: bool
    """The host's own name is in a signed zone, whatever it is an alias of."""


def public_key_info(certificate: bytes) -> bytes:
    """Return a certificate's SubjectPublicKeyInfo, the very octets that stand in it (RFC 5280 §4.1).

    Cut out and not parsed: a key of a kind that nobody here knows, or a certificate with flaws elsewhere, can be
    matched all the same, as DANE-EE wants it.

    Raises:
        ValueError: it is no certificate.
    """
    start, _ = _inside(certificate, 0, 0x30)  # Certificate
    start, end = _inside(certificate, start, 0x30)  # TBSCertificate
    if certificate[start : start + 1] == b"\xa0":  # the version, missing in version 1
        start = _inside(certificate, start, 0xA0)[1]
    for tag in (0x02, 0x30, 0x30, 0x30, 0x30):  # serial number, signature, issuer, validity, subject
        start = _inside(certificate, start, tag)[1]
    stop = _inside(certificate, start, 0x30)[1]
    if stop > end:
        raise ValueError("not a certificate: its key is longer than itself")
    return certificate[start:stop]


def _inside(octets: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of a DER element begins and ends."""
    if len(octets) < at + 2 or octets[at] != tag:
        raise ValueError(f"not a certificate: no element {tag:#x} at octet {at}")
    length, begin = octets[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= _MAX_LENGTH:
            raise ValueError(f"not a certificate: a length of {size} octets at octet {at}")
        length = int.from_bytes(octets[begin : begin + size])
        begin += size
    if begin + length > len(octets):
        raise ValueError(f"not a certificate: cut short at octet {len(octets)}")
    return begin, begin + length
