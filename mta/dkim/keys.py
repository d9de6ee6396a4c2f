"""DKIM keys: read and made as PEM, used to sign a digest, shown as the DNS record to publish.

Reading files, asking DNS and choosing when to change a key are left to others.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

RSA_MIN_BITS = 1024
"""Verifiers refuse less (RFC 8301 §3.2)."""
RSA_GOOD_BITS = 2048
"""What signers ought to use (RFC 8301 §3.2); also what is made here."""
RSA_MAX_BITS = 4096
"""Verifiers need not cope with more (RFC 8301 §3.2)."""

_TXT_STRING_MAX = 255  # one character-string of a TXT record, RFC 1035 §3.3
_NAME_MAX = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PADDING, _PREHASHED = PKCS1v15(), Prehashed(hashes.SHA256())


class Algorithm(StrEnum):
    """The a= tag of a signature. rsa-sha1 is not among them (RFC 8301 §3.1)."""

    RSA = "rsa-sha256"
    """Understood by every verifier."""
    ED25519 = "ed25519-sha256"
    """RFC 8463; still unknown to many verifiers, hence always a second signature beside RSA."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the domain and selector under which its public half is published.

    Two keys are equal if they are published alike; the private half is neither compared nor shown by `repr`.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    public: bytes = field(repr=False)
    """What p= carries before base64: SubjectPublicKeyInfo for RSA (RFC 6376 §3.6.1), 32 octets for Ed25519."""
    private: RSAPrivateKey | Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def parse(cls, domain: str, selector: str, pem: bytes) -> Self:
        """Read an unencrypted PEM key: PKCS#8, or traditional RSA; line ends may be LF or CRLF.

        `domain` is in its ASCII form. ValueError names what is wrong and the remedy, and never quotes the key.
        """
        domain, selector = _dns_labels("domain", domain.removesuffix(".")), _dns_labels("selector", selector)
        if len(f"{selector}._domainkey.{domain}") > _NAME_MAX:
            raise ValueError(f"selector {selector!r} and domain {domain!r} together are too long for a DNS name")
        private = _load(pem)
        algorithm = Algorithm.RSA if isinstance(private, RSAPrivateKey) else Algorithm.ED25519
        return cls(domain, selector, algorithm, _public_octets(private), private)

    @property
    def bits(self) -> int:
        """Length of the key in bits: the modulus for RSA, always 256 for Ed25519."""
        return self.private.key_size if isinstance(self.private, RSAPrivateKey) else 256

    @property
    def weak(self) -> bool:
        """Whether this is an RSA key shorter than signers ought to use (RFC 8301 §3.2)."""
        return self.algorithm is Algorithm.RSA and self.bits < RSA_GOOD_BITS

    @property
    def dns_name(self) -> str:
        """Where the public key is published, without a final dot (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def dns_record(self) -> str:
        """The text of the TXT record there (RFC 6376 §3.6.1, RFC 8463 §4), as one string."""
        kind = "rsa" if self.algorithm is Algorithm.RSA else "ed25519"
        return f"v=DKIM1; k={kind}; p={base64.b64encode(self.public).decode('ascii')}"

    def zone_line(self, ttl: int | None = None) -> str:
        """The record as one line of a zone file, its text cut into strings of 255 octets (RFC 1035 §5.1).

        `ttl` is in seconds; without it the zone's default holds.
        """
        words = [f"{self.dns_name}.", *([] if ttl is None else [str(ttl)]), "IN", "TXT"]
        return " ".join([*words, *(f'"{part}"' for part in _txt_strings(self.dns_record))])

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest: RSASSA-PKCS1-v1_5 (RFC 6376 §3.3.2) or PureEdDSA over the digest (RFC 8463 §3)."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, _PADDING, _PREHASHED)
        return self.private.sign(digest)


def generate_rsa(bits: int = RSA_GOOD_BITS) -> bytes:
    """Make an RSA key of 2048 to 4096 bits; returns PKCS#8 PEM, unencrypted."""
    if not RSA_GOOD_BITS <= bits <= RSA_MAX_BITS:
        raise ValueError(f"an RSA key of {bits} bits: DKIM wants {RSA_GOOD_BITS} to {RSA_MAX_BITS}")
    return _pem(generate_private_key(65537, bits))


def generate_ed25519() -> bytes:
    """Make an Ed25519 key; returns PKCS#8 PEM, unencrypted."""
    return _pem(Ed25519PrivateKey.generate())


def _pem(private: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load(pem: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    if b"PUBLIC KEY-----" in pem or b"BEGIN CERTIFICATE" in pem:
        raise ValueError("this is a public key or a certificate; DKIM signs with the private key")
    try:
        private = serialization.load_pem_private_key(pem.replace(b"\r\n", b"\n").strip(b"\n") + b"\n", password=None)
    except TypeError:
        raise ValueError(
            "the key is encrypted; write it without a passphrase, in a file only the server reads"
        ) from None
    except (ValueError, UnsupportedAlgorithm):  # their texts speak of OpenSSL's inside, and help nobody
        raise ValueError(
            "no usable private key; expected PEM, PKCS#8 (BEGIN PRIVATE KEY) or BEGIN RSA PRIVATE KEY"
        ) from None
    match private:
        case RSAPrivateKey() if private.key_size < RSA_MIN_BITS:
            raise ValueError(f"an RSA key of {private.key_size} bits: verifiers refuse less than {RSA_MIN_BITS}")
        case RSAPrivateKey() if private.key_size > RSA_MAX_BITS:
            raise ValueError(f"an RSA key of {private.key_size} bits: verifiers need not accept over {RSA_MAX_BITS}")
        case RSAPrivateKey() | Ed25519PrivateKey():
            return private
    raise ValueError(f"a {type(private).__name__.removesuffix('PrivateKey')} key: DKIM knows RSA and Ed25519 only")


def _public_octets(private: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    if isinstance(private, RSAPrivateKey):
        return private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    return private.public_key().public_bytes_raw()


def _dns_labels(what: str, text: str) -> str:
    """The name in lower case. Strict, as it is written into header fields and zone files."""
    name = text.lower()
    if not name or len(name) > _NAME_MAX or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{what} {text!r}: expected a DNS name in ASCII (for other scripts its xn-- form)")
    return name


def _txt_strings(text: str) -> Iterator[str]:
    for start in range(0, len(text), _TXT_STRING_MAX):
        yield text[start : start + _TXT_STRING_MAX]
